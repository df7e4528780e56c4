"""Record -> one line of the access log: as text, as JSON or in the combined format.

Does not know files or threads: `server/access_log_writer.py` writes the lines.
"""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from cmux_proxy.observe.record import Record
from cmux_proxy.observe.record_fields import record_fields

LOGGER: Final = logging.getLogger("cmux_proxy.access")

_NOTHING: Final = "-"

# Takes a record and the time at which it ended, in seconds since 1970; returns a line without end.
Format = Callable[[Record, float], str]


def log(record: Record) -> None:
    """Log a record with the logger, which adds the time, for programs that embed the proxy."""
    if LOGGER.isEnabledFor(logging.INFO):
        LOGGER.info("%s", _text(record))


def text(record: Record, at: float) -> str:
    """Return a line for people."""
    return f"{_time(at)} {_text(record)}"


def as_json(record: Record, at: float) -> str:
    """Return a line for programs."""
    return json.dumps({"time": _time(at), **record_fields(record)}, separators=(",", ":"))


def combined(record: Record, at: float) -> str:
    """Return a line in Apache's and nginx's combined format, without referrer and user agent."""
    time = datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    method = record.method
    request = f"{method} {record.path} HTTP/1.{record.minor}" if method else _NOTHING
    quoted = request.replace("\\", "\\\\").replace('"', '\\"')
    client = record.client or _NOTHING
    return f'{client} - - [{time}] "{quoted}" {record.status} {record.sent} "-" "-"'


FORMATS: Final[dict[str, Format]] = {"text": text, "json": as_json, "combined": combined}


def missing(count: int, format_name: str, at: float) -> str:
    """Return a line that says how many lines are missing, in the format of that name."""
    if format_name == "json":
        return json.dumps({"time": _time(at), "missing": count}, separators=(",", ":"))
    return f"{count} lines are missing here: they came faster than written, or could not be written"


def _text(record: Record) -> str:
    first_byte = record.until_first_byte()
    return (
        f"{record.client or _NOTHING} {record.kind} {record.method or _NOTHING} "
        f"{record.path or _NOTHING} {record.status} port={record.port or _NOTHING} "
        f"workspace={_word(record.workspace)} upstream={record.upstream() or _NOTHING} "
        f"in={record.received} out={record.sent} seconds={record.duration():.4f} "
        f"first={_NOTHING if first_byte is None else f'{first_byte:.4f}'} "
        f"reused={'yes' if record.is_reused else 'no'} error={record.error or _NOTHING}"
    )


def _word(text: str) -> str:
    """Return a client's text as one word, so that it cannot be mistaken for fields of the line."""
    return json.dumps(text) if " " in text or '"' in text else text or _NOTHING


def _time(at: float) -> str:
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return time.replace("+00:00", "Z")
