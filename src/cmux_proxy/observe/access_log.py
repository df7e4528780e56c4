"""Record -> one line of the access log: as text, as JSON or in the combined format.

The code here defines every byte of a line. In a compiled build `_fast_lines.pyx` writes the same
bytes. Does not know files, blocks or threads: `line_block.py` collects lines.
"""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import Final

from cmux_proxy.observe.record import Record

LOGGER: Final = logging.getLogger("cmux_proxy.access")

_NOTHING: Final = "-"
_NULL: Final = "null"

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
    """Return a line for programs: the fields of `record_fields.py` behind the time."""
    first_byte = record.until_first_byte()
    return (
        f'{{"time":"{_time(at)}","client":{_string(record.client)},"kind":{_string(record.kind)},'
        f'"method":{_string(record.method)},"path":{_string(record.path)},'
        f'"status":{record.status},"port":{record.port or _NULL},'
        f'"workspace":{_string(record.workspace)},"upstream":{_string(record.upstream())},'
        f'"bytes_in":{record.received},"bytes_out":{record.sent},'
        f'"seconds":{round(record.duration(), 6)!r},'
        f'"first_byte_seconds":{_NULL if first_byte is None else repr(round(first_byte, 6))},'
        f'"reused":{"true" if record.is_reused else "false"},'
        f'"protocol":{_string(record.protocol)},"error":{_string(record.error)}}}'
    )


def combined(record: Record, at: float) -> str:
    """Return a line in Apache's and nginx's combined format, without referrer and user agent."""
    method = record.method
    request = f"{method} {record.path} {record.protocol}" if method else _NOTHING
    quoted = request.replace("\\", "\\\\").replace('"', '\\"')
    client = record.client or _NOTHING
    return f'{client} - - [{_apache_time(at)}] "{quoted}" {record.status} {record.sent} "-" "-"'


FORMATS: Final[dict[str, Format]] = {"text": text, "json": as_json, "combined": combined}


def encode(line: str) -> bytes:
    """Return a line as the bytes that are written, with its end: ASCII, all else escaped."""
    return f"{line}\n".encode("ascii", "backslashreplace")


def missing(count: int, format_name: str, at: float) -> str:
    """Return a line that says how many lines are missing, in the format of that name."""
    if format_name == "json":
        return json.dumps({"time": _time(at), "missing": count}, separators=(",", ":"))
    return f"{count} lines are missing here: they came faster than written, or could not be written"


def second_of(format_name: str, at: int) -> bytes:
    """Return the part of a time that all lines of one second share, in seconds since 1970."""
    time = _apache_time(at) if format_name == "combined" else _time(at).partition(".")[0]
    return time.encode("ascii")


def _text(record: Record) -> str:
    first_byte = record.until_first_byte()
    return (
        f"{record.client or _NOTHING} {record.kind} {record.method or _NOTHING} "
        f"{record.path or _NOTHING} {record.status} port={record.port or _NOTHING} "
        f"workspace={_word(record.workspace)} upstream={record.upstream() or _NOTHING} "
        f"in={record.received} out={record.sent} seconds={record.duration():.4f} "
        f"first={_NOTHING if first_byte is None else f'{first_byte:.4f}'} "
        f"reused={'yes' if record.is_reused else 'no'} protocol={record.protocol or _NOTHING} "
        f"error={record.error or _NOTHING}"
    )


def _word(text: str) -> str:
    """Return a client's text as one word, so that it cannot be mistaken for fields of the line."""
    return json.dumps(text) if " " in text or '"' in text else text or _NOTHING


def _string(text: str) -> str:
    return encode_basestring_ascii(text) if text else _NULL


def _time(at: float) -> str:
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return time.replace("+00:00", "Z")


def _apache_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
