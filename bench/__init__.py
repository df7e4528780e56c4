"""Benchmarks: `load` puts whole proxies under load, `micro` times single steps.

`probe` sends the cases of a public corpus of malformed and ambiguous requests to several proxies.
"""
