"""What an exchange knows of its client's request, whatever protocol the client speaks.

`downstream/http1_request.py` implements it for HTTP/1.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.http1.body import Body
from cmux_proxy.http1.chunked_body import ChunkRules
from cmux_proxy.http1.head import ResponseHead
from cmux_proxy.http1.serialize import Edits
from cmux_proxy.routing.target import Target


@mypyc_attr(acyclic=True)
class ClientRequest:
    """A request: its head, and the body bytes as they arrive.

    `method` is that of the request line, `minor` is the client's HTTP/1 version.
    `host` is the Host that the request means, None where it has none; `reserved` are the fields of
    the proxy as (lower-case name, value). `mode` is one of `state.py`. `body` is None where the
    request has none. `received` counts the bytes of the request. `expects_continue` says that the
    client waits for leave to send its body (RFC 9110 section 10.1.1).
    """

    __slots__ = (
        "body",
        "expects_continue",
        "host",
        "method",
        "minor",
        "mode",
        "received",
        "reserved",
    )

    method: bytes
    minor: int
    host: bytes | None
    reserved: tuple[tuple[bytes, bytes], ...]
    mode: int
    body: Body | None
    expects_continue: bool
    received: int

    def validate(self, chunk_rules: ChunkRules) -> bytes:
        """Validate the head and the body bytes that came with it; raise BadMessage.

        Return the bytes behind the request.
        """
        raise NotImplementedError

    def request_target(self) -> bytes:
        """Return the target of the request line (RFC 9112 section 3.2)."""
        raise NotImplementedError

    def request_line(self) -> bytes:
        """Return bytes that begin with the request line and its end (RFC 9112 section 3)."""
        raise NotImplementedError

    def path(self) -> bytes:
        """Return the target in origin form, or "*", once the request is valid; not for CONNECT."""
        raise NotImplementedError

    def is_complete(self) -> bool:
        """Return whether its last byte has arrived."""
        raise NotImplementedError

    def encode_http1(self, target: Target, edits: Edits | None) -> bytes:
        """Return the head and first body bytes for the upstream (RFC 9112)."""
        raise NotImplementedError

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of all field lines of that lower-case name."""
        raise NotImplementedError

    def forwarded_values(self, name: bytes) -> list[bytes]:
        """Return those that are sent on: none of a field that Connection names."""
        raise NotImplementedError

    def allows_keep_alive(self) -> bool:
        """Return whether the client's connection may carry another request after this one."""
        raise NotImplementedError

    def check_switch(self, response: ResponseHead) -> None:
        """Raise BadMessage unless this 101 grants what the request asked for."""
        raise NotImplementedError

    def check_refusal(self, response: ResponseHead) -> None:
        """Raise BadMessage unless this final response may answer the request for an upgrade."""


# The request of an exchange that serves none; it has no attributes.
NO_REQUEST: Final = ClientRequest()
