"""Record -> one line of the access log: as text, as JSON or in the combined format.

Knows neither files nor threads: `server/access_log_writer.py` does.
"""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from cmux_proxy.observe.record import Record

LOGGER: Final = logging.getLogger("cmux_proxy.access")

_NOTHING: Final = "-"

# A record, and the time of day at which it was told, in seconds since 1970.
Format = Callable[[Record, float], str]


def log(record: Record) -> None:
    """Tell the logger, for programs that embed the proxy; the time is the logger's business."""
    if LOGGER.isEnabledFor(logging.INFO):
        LOGGER.info("%s", _text(record))


def text(told: Record, at: float) -> str:
    """Return a line for people, without its end."""
    return f"{_time(at)} {_text(told)}"


def as_json(told: Record, at: float) -> str:
    """Return a line for programs."""
    return json.dumps({"time": _time(at), **as_fields(told)}, separators=(",", ":"))


def combined(told: Record, at: float) -> str:
    """Return a line of the combined format of Apache and nginx, without referrer and agent."""
    time = datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    request = f"{told.method} {told.path} HTTP/1.{told.minor}" if told.method else _NOTHING
    quoted = request.replace("\\", "\\\\").replace('"', '\\"')
    return f'{told.client or _NOTHING} - - [{time}] "{quoted}" {told.status} {told.sent} "-" "-"'


FORMATS: Final[dict[str, Format]] = {"text": text, "json": as_json, "combined": combined}


def missing(count: int, name: str, at: float) -> str:
    """Return a line that says how many are missing, as the format of that name can have it."""
    if name == "json":
        return json.dumps({"time": _time(at), "missing": count}, separators=(",", ":"))
    return f"{count} lines are missing here: they came faster than written, or could not be written"


def as_fields(told: Record) -> dict[str, object]:
    """Return what a record tells, under the names that JSON has for it."""
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


def _text(told: Record) -> str:
    first = told.until_first_byte()
    return (
        f"{told.client or _NOTHING} {told.kind} {told.method or _NOTHING} {told.path or _NOTHING} "
        f"{told.status} port={told.port or _NOTHING} workspace={_word(told.workspace)} "
        f"upstream={told.upstream() or _NOTHING} in={told.received} out={told.sent} "
        f"seconds={told.duration():.4f} first={_NOTHING if first is None else f'{first:.4f}'} "
        f"reused={'yes' if told.is_reused else 'no'} error={told.error or _NOTHING}"
    )


def _word(text: str) -> str:
    """Return a client's words as one, or they could pass for fields of the line."""
    return json.dumps(text) if " " in text or '"' in text else text or _NOTHING


def _time(at: float) -> str:
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return time.replace("+00:00", "Z")
