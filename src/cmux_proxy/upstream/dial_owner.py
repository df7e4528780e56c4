"""What a dial reports; a file of its own, since its users are compiled and dials are not."""

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

    def dial_opened(self, dial: "Dial", took: float) -> None:
        """The socket is connected; the dial cannot be given up any more."""
        raise NotImplementedError

    def dial_connected(self, dial: "Dial", connection: UpstreamConnection) -> None:
        """The connection is there, and nobody's yet."""
        raise NotImplementedError

    def dial_unanswered(self, dial: "Dial") -> None:
        """A target that is near has not answered in time."""
        raise NotImplementedError

    def dial_failed(self, dial: "Dial", error: UpstreamUnavailable) -> None:
        """There is no connection."""
        raise NotImplementedError
