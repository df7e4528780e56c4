"""Reads the head of a client's next request, and sets the deadline of the wait for it.

Keeps the idle timeout until the first byte, and the head timeout from then on. Does not know what
happens when a deadline passes, nor what a head becomes: `http1_connection.py` does. Neighbours:
`http1/scan.py` parses the head, `relay/progress_timeout.py` has the timeout of an exchange.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.http1.head import RequestHead
from cmux_proxy.http1.scan import skip_empty_lines
from cmux_proxy.net.timers import NEVER
from cmux_proxy.relay.downstream import Downstream
from cmux_proxy.relay.services import Services

# A connection counts as in use for this many seconds after a response; the ticker adds up to half
# a second.
_RECENTLY: Final = 1.0


@mypyc_attr(acyclic=True, free_list_len=1)
class RequestHeadReader:
    """Takes one head after the other out of the bytes that a client has sent.

    Keeps no reference to the services, whose registry has the client: the garbage collector does
    not look into it.
    """

    __slots__ = ("_searched",)

    def __init__(self) -> None:
        # How many bytes of a partial head have been searched for its end.
        self._searched = 0

    def read(self, services: Services, client: Downstream) -> RequestHead | None:
        """Return the next head, with all bytes that arrived behind it; None while it is partial.

        Raises BadMessage.
        """
        data = client.pipelined
        if data.startswith(b"\r"):
            # RFC 9112 section 2.2: empty lines before a request are skipped.
            data = client.pipelined = skip_empty_lines(data)
            if data in (b"", b"\r"):
                self._wait_for_rest(services, client, 0)
                return None
        head = services.request_scanner.scan(data, self._searched)
        if head is None:
            self._wait_for_rest(services, client, len(data))
            return None
        self._searched = 0
        client.pipelined = b""
        client.deadline = NEVER
        return head

    def _wait_for_rest(self, services: Services, client: Downstream, arrived: int) -> None:
        """Set the deadline of a partial head: from its first byte, not from empty lines."""
        if client.has_ended:
            client.transport.close()
            return
        if not self._searched:
            deadline = services.ticker.now + services.timeouts.head
            client.deadline = deadline if arrived else min(client.deadline, deadline)
        self._searched = arrived

    def restart_idle_timeout(self, services: Services, client: Downstream) -> None:
        """Wait for the whole idle timeout again."""
        client.deadline = services.ticker.now + services.timeouts.idle

    def has_waited(self, services: Services, client: Downstream) -> bool:
        """Return whether an idle client has been so for longer than a moment."""
        # The deadline tells when it became idle, so that no request has to note the time.
        return client.deadline < services.ticker.now - _RECENTLY + services.timeouts.idle
