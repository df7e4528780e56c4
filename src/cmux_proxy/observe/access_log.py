"""Record -> one line of the access log: as text, as JSON or in the combined format.

Lines go through the standard library's logging, as the message of "cmux_proxy.access", so that an
embedder may send them anywhere. Knows neither files nor threads: `server/log_writing.py` does.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Final

from cmux_proxy.observe.record import Record

LOGGER: Final = logging.getLogger("cmux_proxy.access")

_NOTHING: Final = "-"


def log(record: Record) -> None:
    """Hand a record over to the logger, if anybody listens."""
    if LOGGER.isEnabledFor(logging.INFO):
        # The long way would look up who has called.
        LOGGER.handle(
            logging.LogRecord(LOGGER.name, logging.INFO, "", 0, _Line(record), None, None)
        )


class _Line:
    """The message of a log record; without a formatter of ours it is the text."""

    __slots__ = ("record",)

    def __init__(self, record: Record) -> None:
        self.record = record

    def __str__(self) -> str:
        return _text(self.record)


class AccessFormatter(logging.Formatter):
    """Writes lines in one of the formats; other messages stay as they are."""

    def __init__(self, name: str) -> None:
        """Take "text", "json" or "combined"."""
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        if not isinstance(record.msg, _Line):
            return super().format(record)
        told = record.msg.record
        at = datetime.fromtimestamp(record.created, UTC)
        if self._name == "combined":
            return _combined(told, at)
        time = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return _json(told, time) if self._name == "json" else f"{time} {_text(told)}"


def _text(told: Record) -> str:
    first = told.until_first_byte()
    parts = [
        told.client or _NOTHING,
        told.kind,
        told.method or _NOTHING,
        told.path or _NOTHING,
        str(told.status),
        f"port={told.port or _NOTHING}",
        f"workspace={told.workspace or _NOTHING}",
        f"upstream={told.upstream() or _NOTHING}",
        f"in={told.received}",
        f"out={told.sent}",
        f"seconds={told.duration():.4f}",
        f"first={_NOTHING if first is None else f'{first:.4f}'}",
        f"reused={'yes' if told.is_reused else 'no'}",
        f"error={told.error or _NOTHING}",
    ]
    return " ".join(parts)


def as_fields(told: Record) -> dict[str, object]:
    """Return what a record tells, under the names that the JSON format has for it."""
    first = told.until_first_byte()
    return {
        "client": told.client or None,
        "kind": told.kind,
        "method": told.method or None,
        "path": told.path or None,
        "status": told.status,
        "port": told.port or None,
        "workspace": told.workspace or None,
        "upstream": told.upstream() or None,
        "bytes_in": told.received,
        "bytes_out": told.sent,
        "seconds": round(told.duration(), 6),
        "first_byte_seconds": None if first is None else round(first, 6),
        "reused": told.is_reused,
        "error": told.error or None,
    }


def _json(told: Record, time: str) -> str:
    return json.dumps({"time": time, **as_fields(told)}, separators=(",", ":"))


def _combined(told: Record, at: datetime) -> str:
    """Return a line of the combined format of Apache and nginx, without referrer and agent."""
    time = at.strftime("%d/%b/%Y:%H:%M:%S +0000")
    request = f"{told.method} {told.path} HTTP/1.{told.minor}" if told.method else _NOTHING
    quoted = request.replace("\\", "\\\\").replace('"', '\\"')
    return f'{told.client or _NOTHING} - - [{time}] "{quoted}" {told.status} {told.sent} "-" "-"'
