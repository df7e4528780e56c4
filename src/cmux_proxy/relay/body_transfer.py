"""Which bodies the kernel may move: those whose bytes the proxy does not have to look at.

Neighbour: `net/splice.py` moves them, and knows nothing of bodies.
"""

from cmux_proxy.http1.body import Body, LengthBody, UntilCloseBody
from cmux_proxy.net import splice
from cmux_proxy.net.splice import CountMoved, Pipe
from cmux_proxy.net.stream import Stream


def start_transfer(
    pipe: Pipe, source: Stream, sink: Stream, body: Body, count_moved: CountMoved, count: int
) -> None:
    """Let the kernel move what follows of a body; see `splice.start_transfer`."""
    if isinstance(body, LengthBody):
        splice.start_transfer(pipe, source, sink, body, count_moved, count)
    elif isinstance(body, UntilCloseBody):
        splice.start_transfer(pipe, source, sink, None, count_moved, count)
    else:
        splice.limit_reads(pipe, source, sink)
