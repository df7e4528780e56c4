"""What an exchange needs of its client's connection; `http1_connection.py` is the real one."""

from typing import Final

from cmux_proxy.http1.local_reply import Content
from cmux_proxy.net.flow_control import EARLY_FULL, FlowControlledConnection
from cmux_proxy.net.peer import peer_of
from cmux_proxy.relay.failures import Failure

# With fewer early bytes the client is still read, so that its leaving is noticed. With one read on
# top, what is held stays within `limits.buffer`.
EARLY_LIMIT: Final = 4096


class ClientSide(FlowControlledConnection):
    """A client's connection as its exchange sees it."""

    __slots__ = ("early", "has_ended")

    def __init__(self) -> None:
        super().__init__()
        # Bytes that wait for their turn: behind the request under way, or not yet a whole head.
        self.early = b""
        self.has_ended = False

    def keep_early(self, data: bytes) -> None:
        """Keep bytes that wait for their turn; read nothing more when these are enough."""
        self.early = data
        if len(data) > EARLY_LIMIT:
            self.hold_reading(EARLY_FULL)

    def address(self) -> str:
        """Return who it is, as `peer_of` tells it."""
        return peer_of(self.transport)

    def body_wanted(self) -> None:
        """Hand over the body bytes that came early."""
        raise NotImplementedError

    def exchange_done(self, keep: bool) -> None:
        """The exchange is over and its last byte written; `keep` the connection or close it."""
        raise NotImplementedError

    def reply(self, failure: Failure, with_body: bool, keep: bool, content: Content) -> None:
        """The exchange is over; send this answer of our own, with this content."""
        raise NotImplementedError

    def linger(self) -> None:
        """The exchange is over; close, but let the client read what it was sent."""
        raise NotImplementedError

    def cut(self, with_reset: bool) -> None:
        """The exchange is over amid its response; close so that this shows."""
        raise NotImplementedError

    def leave(self) -> None:
        """The exchange is over, and the transport is a tunnel's."""
        raise NotImplementedError
