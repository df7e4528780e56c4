"""The bodies of requests: a length or chunks, read strictly.

Neighbours: `framing.py` says which, `response_body.py` has the bodies of responses.
"""

from cmux_proxy.http1.body import Body, LengthBody
from cmux_proxy.http1.chunked_body import ChunkedBody, ChunkRules
from cmux_proxy.http1.framing import CHUNKED


def request_body(framing: int, rules: ChunkRules) -> Body:
    """Return the body of a request with that framing."""
    return ChunkedBody(rules, False) if framing == CHUNKED else LengthBody(framing)
