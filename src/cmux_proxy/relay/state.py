"""The states of an exchange's two halves, and how it is carried.

A half moves down its list and never back:

    request         its events                     response           its events
    ------------    ---------------------------    ---------------    --------------------------
    REQUEST_HEAD    validate, route                AWAITING_HEAD      interim and final heads
    REQUEST_BODY    body bytes of the client       RESPONSE_BODY      body bytes of the upstream
    REQUEST_DONE    pipelined bytes wait           RESPONSE_DONE      the request may go on
                                                   ENDED              absorbs what comes late

    request \\ response    AWAITING_HEAD        RESPONSE_BODY    RESPONSE_DONE
    --------------------    -----------------    -------------    -----------------------------
    REQUEST_HEAD            refuse, then end     -                -
    REQUEST_BODY            forward the body     both forward     forward, or linger: close late
    REQUEST_DONE            wait, or retry       forward          complete: the exchange ends

`docs/concepts/exchange.md` has what each event does in each of these. Constants rather than enums,
because the hot path compares them.
"""

from typing import Final

# The request
REQUEST_HEAD: Final = 0  # not validated yet
REQUEST_BODY: Final = 1  # the body is being forwarded
REQUEST_DONE: Final = 2  # its last byte was read

# The response
AWAITING_HEAD: Final = 0  # no final response head yet
RESPONSE_BODY: Final = 1  # the head has been sent
RESPONSE_DONE: Final = 2  # the last byte has been sent
ENDED: Final = 3  # the exchange has ended; later events do nothing

# How an exchange is carried, as bits
FORWARD: Final = 0  # a request and its responses
CONNECT: Final = 1  # a tunnel (RFC 9110 section 9.3.6)
UPGRADE: Final = 2  # a request that becomes a tunnel where the upstream grants it (section 7.8)
WEBSOCKET: Final = CONNECT | UPGRADE  # a tunnel like that of CONNECT, inside a WebSocket
