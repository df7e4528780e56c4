"""A running proxy, its clients and its upstreams, and all events that may happen between them."""
