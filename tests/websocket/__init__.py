"""Tests of `src/cmux_proxy/websocket`."""
