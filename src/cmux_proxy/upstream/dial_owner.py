"""What a dial reports to; a separate file, because its users are compiled and dials are not."""

from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from cmux_proxy.errors import UpstreamUnavailable
from cmux_proxy.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from cmux_proxy.upstream.dial import Dial


@mypyc_attr(allow_interpreted_subclasses=True)
class DialOwner:
    """Owns dials: each reports an open socket and then the connection, or why there is none."""

    __slots__ = ()

    def dial_opened(self, dial: "Dial", seconds: float) -> None:
        """The socket is connected after `seconds`; the dial cannot be cancelled any more."""
        raise NotImplementedError

    def dial_connected(self, dial: "Dial", connection: UpstreamConnection) -> None:
        """The connection is there, and has no owner yet."""
        raise NotImplementedError

    def dial_timed_out(self, dial: "Dial") -> None:
        """A near target has not accepted the connection within the timeout of the dial."""
        raise NotImplementedError

    def dial_failed(self, dial: "Dial", error: UpstreamUnavailable) -> None:
        """There is no connection."""
        raise NotImplementedError
