"""Which upstream a request is sent to: from the host and a few field values to a Target.

    router       applies the rules; an embedder may replace it
    target       the upstream's host and port
    port_field   X-Cmux-Port-Internal
    authority    the port that the target of a CONNECT names
    host_label   a port, and a workspace, in the host
    workspace    X-Cmux-Workspace-Internal, and the addresses of workspaces

Does not know heads, sockets or clocks.
"""
