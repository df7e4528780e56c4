"""The exceptions that a user of the package may see.

CmuxProxyError
 ├── ConfigError            a value in Config is not usable (also a ValueError)
 │    └── CertificateError  a file with a certificate or a key is not usable
 ├── ListenError            an address cannot be bound
 ├── RouteRefused           a request has no target, or may not reach it
 │    └── PortMissing       it names no port at all
 └── UpstreamUnavailable    an upstream could not be connected to; nothing was sent
"""

from enum import Enum


class CmuxProxyError(Exception):
    """The base of all exceptions of this package."""


class ConfigError(CmuxProxyError, ValueError):
    """A field of the configuration has a value that cannot be used."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class CertificateError(ConfigError):
    """A file with a certificate or a private key cannot be used; says what to do about it."""


class ListenError(CmuxProxyError):
    """An address cannot be bound."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address
        self.reason = reason


class RouteRefused(CmuxProxyError):
    """A request is refused instead of routed; the attributes make the response.

    `status` is an HTTP status, `text` one line for the client, `error` a Proxy-Status error type
    (RFC 9209 section 2.3), `fields` are further whole header lines of the response.
    """

    def __init__(
        self, status: int, text: str, error: str = "http_request_error", fields: bytes = b""
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.error = error
        self.fields = fields


class PortMissing(RouteRefused):
    """A request names no port; where it asks for a path of the proxy itself, that is served."""


class UnavailableReason(Enum):
    """Why there is no connection to an upstream."""

    REFUSED = "nothing listens on the port"
    DNS_ERROR = "the name has no address, or cannot be looked up"
    UNROUTABLE = "no route leads to the address"
    TIMEOUT = "the upstream did not accept the connection in time"
    TERMINATED = "the connection failed in another way"
    TLS_PROTOCOL = "the TLS handshake failed"
    TLS_CERTIFICATE = "the certificate of the upstream is not trusted"
    TLS_ALERT = "the upstream has refused the TLS handshake"
    PROTOCOL = "the upstream does not speak HTTP/2"
    LOOP = "the address is the proxy's own"
    CONNECTION_LIMIT = "the upstream has as many connections as it may have"
    RESOURCE_LIMIT = "the proxy has no descriptor, port or memory, or looks too many names up"


class UpstreamUnavailable(CmuxProxyError):
    """No connection to the upstream could be established; nothing was sent.

    `text` is one line for the client; `retryable` says that the same request may succeed soon,
    because others hold now what it needs.
    """

    def __init__(self, reason: UnavailableReason, text: str, retryable: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.retryable = retryable
