"""The left-hand side and the middle: one request's life.

context      what all connections of one proxy share
client       one accepted socket: buffers, hands over whole heads
exchange     one request and all its responses, the order of steps
responding   the response half of an exchange
tunnel       two byte pipes, after CONNECT or an upgrade
linger       a close that lets the client read the answer first
pacing       a full writer pauses the reader on the other side
failures     what went wrong and when -> the reply
deadlines    one ticker walks timestamps
"""
