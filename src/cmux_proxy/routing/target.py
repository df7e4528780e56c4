"""Target: the upstream of a request, and whether the request's Host named it."""

from typing import Final, NamedTuple

from mypy_extensions import mypyc_attr

from cmux_proxy.config.address import format_authority

HTTP: Final = "http"
HTTPS: Final = "https"
# HTTP/2, without TLS and with it, as ALPN calls them (RFC 9113 section 3.1).
H2C: Final = "h2c"
H2: Final = "h2"


class Target(NamedTuple):
    """An upstream's host (a name or an IP address without brackets), its port and its scheme.

    The scheme is "http" or "https"; or "h2c" or "h2", if it is spoken to in HTTP/2, without TLS or
    with it.
    """

    host: str
    port: int
    scheme: str = HTTP

    def has_tls(self) -> bool:
        """Return whether connections to it have TLS."""
        return self.scheme in (HTTPS, H2)

    def is_http2(self) -> bool:
        """Return whether it is spoken to in HTTP/2."""
        return self.scheme in (H2C, H2)

    def url_scheme(self) -> str:
        """Return the scheme of its URLs."""
        return HTTPS if self.has_tls() else HTTP

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
