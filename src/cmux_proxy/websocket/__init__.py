"""TCP inside a WebSocket, without I/O: from frames to the bytes of a tunnel, and back (RFC 6455).

    tunnel_reader    the bytes of a peer -> the bytes of a tunnel, and how it ends
    tunnel_frames    makes frames
    masking          masks and unmasks; _fast_mask is its compiled twin
    opening          the opening handshake: keys, subprotocols
    close_codes      the codes of Close frames

Serves both ends: the proxy, which reads masked frames, and its clients, which send them.
Does not know sockets, event loops, clocks, HTTP heads or routes.
"""
