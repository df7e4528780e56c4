"""Tests of `src/cmux_proxy/http2`."""
