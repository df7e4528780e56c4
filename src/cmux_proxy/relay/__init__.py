"""The left-hand side and the middle: one request's life.

context      what all connections of one proxy share
client       one accepted socket: buffers, hands over whole heads; `client_side` is its base
exchange     one request and all its responses, from start to end; its halves are
asking       the request: judged, routed, sent
answering    the response: read, framed, delivered
sides        how far both are
tunnel       two byte pipes, after CONNECT or an upgrade
closing      the close that lets the client read the answer first, and the reset
pacing       a full writer pauses the reader on the other side
failures     what went wrong -> the reply
deadlines    one ticker walks timestamps
departures   looks for peers that have left though nobody reads their connections
"""
