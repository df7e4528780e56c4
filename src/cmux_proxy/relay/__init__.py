"""One exchange, whatever protocol its client speaks: a request, its responses, or a tunnel.

exchange             one request, from its start to its end; composes
  request            the request half: validated, routed, forwarded
  response           the response half: read, framed, forwarded
  upstream_request   the request at its upstream; upstream_lease: the connection it is sent on
  progress_timeout   for how long no byte may move
  exchange_end       the ways to end
  accounting         what is counted and logged
exchange_pool        keeps ended exchanges for the next requests
state                the states of both halves
downstream           what an exchange knows of its client's connection, client_request of its
                     request, response_writer of how a response is sent
body_transfer        which bodies the kernel may move
tunnel               two connections joined after CONNECT or an upgrade; tunnel_side: one of them
failures             what went wrong -> the reply: all statuses are chosen here
error_content        the form of such a reply; error_page is the one for browsers
access               tokens, hosts and ports that are allowed
header_rules         Host, Origin and the forwarding fields that change
request_options      X-Cmux-Wait and X-Cmux-Host-Override
loop_detection       X-Cmux-Hops
health               whether the proxy takes new connections, for load balancers
services, timeouts   what all exchanges of one worker use
connection_registry  who is connected, and whether the worker drains
"""
