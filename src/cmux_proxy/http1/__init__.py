"""HTTP/1 without I/O: from bytes to facts, from facts to decisions, from decisions to bytes.

Reading
    scan             the bytes of a head -> its facts; _fast_scan is its compiled shortcut
    new_head         makes a head of the facts that the shortcut has found
    fields           a header section -> its facts
    field_lines      the valid lines of a head; field_kinds: which fields matter, and how
    head             the facts of a head; reserved_fields: the proxy's own fields
    head_limits      how large a head may be
    grammar          byte classes and patterns of the RFCs
    explain          why a head was refused
    normalize        repairs the head of a response
    body             which bytes belong to a body; chunked_body: the same where it has chunks
    request_body     the body of a request; response_body: that of a response, with loose chunks
    trailers         which trailers may be forwarded
    credentials      tokens in Authorization fields

Deciding
    framing          how a body ends
    keep_alive       whether a connection is kept
    request_target   the forms of the target, and Host; expectation: the Expect field
    upgrade          whether an upgrade is requested, and whether it is granted
    response_coding  how a response is framed for its client

Writing
    serialize        the head to send; hop_by_hop: its TE, Upgrade and Connection
    local_reply      the responses of the proxy itself; imf_fixdate: the time in them

errors has BadMessage, the only exception that is raised here.

Does not know sockets, event loops, clocks, logs or configuration; limits are plain integers.
"""
