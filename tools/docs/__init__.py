"""Generates pages from the code; `make pages` writes them.

They are committed, and tests compare each page with the newly generated one.
"""
