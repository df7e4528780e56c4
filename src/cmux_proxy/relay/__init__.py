"""One exchange, whatever protocol its client speaks: a request, its responses, or a tunnel.

exchange             the order of events, and the end; composes
  request            the request half: validated, routed, forwarded
  response           the response half: read, framed, forwarded
  accounting         what is counted and logged
state                the states of both halves
downstream           what an exchange knows of its client's connection
tunnel               bytes both ways, after CONNECT or an upgrade
failures             what went wrong -> the reply: all statuses are chosen here
error_content        the form of such a reply; error_page is the one for browsers
access               tokens, hosts and ports that are allowed
header_rules         Host, Origin and the forwarding fields that change
request_options      X-Cmux-Wait and X-Cmux-Host-Override
loop_detection       X-Cmux-Hops
services, timeouts   what all exchanges of one worker use
connection_registry  who is connected, and whether the worker drains
disconnects          finds peers that have left while nothing is read from them
"""
