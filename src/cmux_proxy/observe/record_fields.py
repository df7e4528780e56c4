"""Record -> fields as JSON carries them, for the access log and the lists of the admin listener.

Does not know files, sockets or other workers. The names are public: `docs/reference/` has them.
"""

from typing import Literal, TypedDict

from cmux_proxy.observe.record import Record


class RecordFields(TypedDict):
    """One finished exchange; None where there is nothing."""

    client: str | None
    kind: str
    method: str | None
    path: str | None
    status: int
    port: int | None
    workspace: str | None
    upstream: str | None
    bytes_in: int
    bytes_out: int
    seconds: float
    first_byte_seconds: float | None
    reused: bool
    error: str | None
    protocol: str | None


class ErrorFields(RecordFields):
    """An exchange that the proxy could not complete; `time` is in seconds since 1970."""

    time: float


class ConnectionFields(TypedDict, total=False):
    """An open connection of a client, or a stream of one.

    `since` is in seconds since 1970. An idle connection of HTTP/1 has only the first three fields.
    One of HTTP/2 has no exchange itself, but the name `connection` and a number of `streams`; each
    of its streams has that name and the number `stream`.
    """

    state: Literal["idle", "open", "request", "tunnel"]
    since: float
    client: str | None
    kind: str
    method: str | None
    path: str | None
    status: int | None
    port: int | None
    workspace: str | None
    upstream: str | None
    bytes_in: int
    bytes_out: int
    seconds: float
    first_byte_seconds: float | None
    reused: bool
    protocol: str | None
    connection: str
    stream: int
    streams: int


def record_fields(record: Record) -> RecordFields:
    """Return the fields of a finished exchange."""
    first_byte = record.until_first_byte()
    return {
        "client": record.client or None,
        "kind": record.kind,
        "method": record.method or None,
        "path": record.path or None,
        "status": record.status,
        "port": record.port or None,
        "workspace": record.workspace or None,
        "upstream": record.upstream() or None,
        "bytes_in": record.received,
        "bytes_out": record.sent,
        "seconds": round(record.duration(), 6),
        "first_byte_seconds": None if first_byte is None else round(first_byte, 6),
        "reused": record.is_reused,
        "protocol": record.protocol or None,
        "error": record.error or None,
    }


def connection_fields(
    state: Literal["request", "tunnel"], since: float, record: Record, now: float
) -> ConnectionFields:
    """Return the fields of an exchange under way at `now`, in seconds of the record's clock."""
    fields = record_fields(record)
    return {
        "state": state,
        "since": since,
        "client": fields["client"],
        "kind": fields["kind"],
        "method": fields["method"],
        "path": fields["path"],
        "status": record.status or None,
        "port": fields["port"],
        "workspace": fields["workspace"],
        "upstream": fields["upstream"],
        "bytes_in": fields["bytes_in"],
        "bytes_out": fields["bytes_out"],
        "seconds": round(now - record.started, 6),
        "first_byte_seconds": fields["first_byte_seconds"],
        "reused": fields["reused"],
        "protocol": fields["protocol"],
    }
