"""Where a proxy is: http://host:port or https://host:port, and nothing behind it."""

from typing import NamedTuple, Self
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


class ProxyUrl(NamedTuple):
    """The address of a proxy; with `is_tls`, TLS is spoken to it."""

    host: str
    port: int
    is_tls: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "http://vm:8080" or "https://edge.example"; raise ValueError with one clause."""
        problem = ValueError(f"{text!r} is not a URL like http://host:8080 or https://host")
        try:
            parts = urlsplit(text)
            port = parts.port
            # What has labels that are empty or too long cannot be looked up.
            (parts.hostname or "").encode("idna")
        except ValueError:
            raise problem from None
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
            raise problem
        if parts.path not in ("", "/") or parts.query or parts.fragment or port == 0:
            raise problem
        return cls(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "https")

    def __str__(self) -> str:
        scheme = "https" if self.is_tls else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"
