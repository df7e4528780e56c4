"""HTTP/1 without I/O: bytes to facts, facts to decisions, facts and bytes to bytes.

    grammar    byte classes and patterns          head       the facts of one head, and its limits
    scan       a head's bytes -> its facts        fields     a header section's bytes -> its facts
    explain    why a head was refused             normalize  a response head, written cleanly
    framing    how a body ends                    body       which bytes are still this message's
    target     forms of the request target        switching  Upgrade and CONNECT: asked? granted?
    persistence  may this connection go on?       rewrite    the head that leaves
    replies    what the proxy itself answers      errors     BadMessage, all that is raised here

Knows no sockets, loops, clocks, logs or configuration; limits arrive as plain integers.
"""
