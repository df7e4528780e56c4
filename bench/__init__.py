"""Measurements: `load` puts whole proxies under load, `micro` times single steps."""
