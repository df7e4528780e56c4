"""A running proxy, its clients and its upstreams, and everything that may happen between them."""
