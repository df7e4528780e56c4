"""Lines of the access log: those of the compiled build are the same, and JSON is what it claims."""

import json
import re
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.observe.access_log import FORMATS, encode
from cmux_proxy.observe.line_block import HAS_FAST_LINES, LineBlock
from cmux_proxy.observe.record import (
    CONNECT,
    MAX_METHOD,
    REQUEST,
    UPGRADE,
    Record,
    path_of,
    shorten,
)
from cmux_proxy.observe.record_fields import record_fields

# A request line has no line end in it.
BYTES: Final = st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"?"))
LATIN1: Final = st.text(st.characters(max_codepoint=255), max_size=40)
COUNTS: Final = st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 2000))
# Numbers of each size, and those that lie halfway between two numbers of four or six digits.
SECONDS: Final = st.one_of(
    st.floats(0, 1e-3),
    st.floats(0, 100),
    st.floats(0, 1e12),
    st.builds(lambda number: number / 2**20, st.integers(0, 2**22)),
    st.builds(lambda number: (number + 0.5) / 1e4, st.integers(0, 10**6)),
    st.builds(lambda number: (number + 0.5) / 1e6, st.integers(0, 10**6)),
    st.builds(lambda number: number / 1e6, st.integers(0, 10**6)),
)
TARGETS: Final = st.one_of(
    BYTES,
    st.builds(bytes.__add__, st.just(b"/"), BYTES),
    st.text("/?@:a", max_size=12).map(str.encode),
    st.builds(
        lambda start, byte, count, query: start + byte * count + query,
        st.sampled_from([b"", b"/", b"http://u@a/"]),
        st.sampled_from([b"a", b"?", b'"', b"\x80"]),
        st.integers(2030, 2060),
        st.sampled_from([b"", b"?" + b"q" * 2100]),
    ),
)


@st.composite
def records(draw: st.DrawFn) -> tuple[Record, bytes, bytes]:
    """Return a record, and the method and the target that it was made from."""
    record = Record(draw(st.sampled_from([REQUEST, UPGRADE, CONNECT])), draw(LATIN1), 0.0)
    method = draw(st.one_of(st.sampled_from([b"", b"GET", b"M" * 64, b"M" * 65]), BYTES))
    target = draw(TARGETS)
    record.method = shorten(method.decode("latin-1"), MAX_METHOD)
    record.path = path_of(target)
    record.minor = draw(st.integers(0, 1))
    record.status = draw(st.integers(100, 999))
    record.host = draw(st.one_of(st.sampled_from(["127.0.0.1", "::1"]), st.text(max_size=20)))
    record.port = draw(st.one_of(st.just(0), st.integers(1, 65535)))
    record.workspace = draw(st.one_of(st.sampled_from(["", "a b", 'a"b']), st.text(max_size=20)))
    record.received, record.sent = draw(COUNTS), draw(COUNTS)
    record.ended = draw(SECONDS)
    record.first_byte = draw(st.one_of(st.just(0.0), SECONDS))
    record.is_reused = draw(st.booleans())
    record.error = draw(st.one_of(st.just(""), LATIN1))
    return record, method, target


def put(block: LineBlock, record: Record, method: bytes, target: bytes) -> None:
    line = b"%b %b HTTP/1.1\r\nHost: a\r\n" % (method, target)
    block.put_fields(
        record.client, record.kind, method, line, record.minor, record.status,
        (record.host, record.port) if record.port else None, record.workspace, record.received,
        record.sent, record.started, record.first_byte, record.ended, record.is_reused,
        record.error,
    )  # fmt: skip


def second_of(line: bytes, log_format: str) -> float:
    """Return the time in a line, in seconds since 1970, a little after its beginning."""
    if log_format == "combined":
        # Behind the client, which may be any text.
        found = re.findall(rb"\[([0-9]+/[^]]+)\] \"", line)
        return datetime.strptime(found[0].decode(), "%d/%b/%Y:%H:%M:%S %z").timestamp()
    start = len('{"time":"') if log_format == "json" else 0
    text = line[start : start + len("2026-11-25T10:00:00.500Z")].decode("ascii")
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() + 0.0005


@pytest.mark.skipif(not HAS_FAST_LINES, reason="this is the pure build")
@pytest.mark.parametrize("log_format", FORMATS)
@given(st.lists(records(), min_size=1, max_size=4))
def test_they_have_the_same_bytes(log_format: str, made: list[tuple[Record, bytes, bytes]]) -> None:
    block = LineBlock(log_format, list, bool)
    for record, method, target in made:
        put(block, record, method, target)
        from_fields = block.take()
        at = second_of(from_fields, log_format)
        assert from_fields == encode(FORMATS[log_format](record, at))
        block.put(record)
        from_record = block.take()
        assert from_record == encode(
            FORMATS[log_format](record, second_of(from_record, log_format))
        )


@given(records())
def test_json_is_what_the_lists_of_the_admin_listener_have(
    made: tuple[Record, bytes, bytes],
) -> None:
    record = made[0]
    line = FORMATS["json"](record, 0.25)
    fields = {"time": "1970-01-01T00:00:00.250Z", **record_fields(record)}
    assert line == json.dumps(fields, separators=(",", ":"))


@given(TARGETS)
def test_a_path_stays_the_same_as_a_target(target: bytes) -> None:
    path = path_of(target)
    assert path_of(path.encode("latin-1")) == path
