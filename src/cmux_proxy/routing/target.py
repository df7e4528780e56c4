"""Target: the upstream of a request, and whether the request's Host named it."""

from typing import Final, NamedTuple

from mypy_extensions import mypyc_attr

from cmux_proxy.config.address import format_authority

HTTP: Final = "http"
HTTPS: Final = "https"


class Target(NamedTuple):
    """An upstream's host (a name or an IP address without brackets), its port and its scheme.

    With the scheme "https", connections to it have TLS; otherwise it is "http".
    """

    host: str
    port: int
    scheme: str = HTTP

    def authority(self) -> str:
        """Return the target in the form of a Host value (RFC 9110 section 7.2)."""
        return format_authority(self.host, self.port)


# A compiled class cannot have a tuple as its base class.
@mypyc_attr(native_class=False)
class HostTarget(Target):
    """A target that the Host of the request named.

    It equals the Target with the same host and port. Because Host is forwarded, a proxy behind this
    one could send the request back; therefore such requests carry a hop count.
    """

    __slots__ = ()
