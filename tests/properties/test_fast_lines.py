"""Lines of the access log: those of the compiled build are the same, and JSON is what it claims."""

import itertools
import json
import re
import time
from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.observe import clock
from cmux_proxy.observe.access_log import FORMATS, encode
from cmux_proxy.observe.line_block import BLOCK_SIZE, HAS_FAST_LINES
from cmux_proxy.observe.record import (
    CONNECT,
    HTTP_1_0,
    HTTP_1_1,
    HTTP_2,
    MAX_METHOD,
    REQUEST,
    UPGRADE,
    Record,
    path_of,
    shorten,
)
from cmux_proxy.observe.record_fields import record_fields

if HAS_FAST_LINES:
    from cmux_proxy.observe._fast_lines import FastLines

# A request line has no line end in it.
BYTES: Final = st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"?"))
OTHERS: Final = [byte for byte in range(256) if byte != 10]
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
    st.builds(lambda number: number / 1e6, st.integers(0, 200)),
)
TARGETS: Final = st.one_of(
    BYTES,
    st.builds(bytes.__add__, st.just(b"/"), BYTES),
    st.text("/?@:a", max_size=12).map(str.encode),
    st.just(b"/a HTTP/1."),
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
    record.protocol = draw(st.one_of(st.sampled_from(["", HTTP_1_0, HTTP_1_1, HTTP_2]), LATIN1))
    record.status = draw(st.integers(100, 999))
    record.host = draw(st.one_of(st.sampled_from(["127.0.0.1", "::1"]), st.text(max_size=20)))
    record.port = draw(st.one_of(st.just(0), st.integers(1, 65535)))
    record.workspace = draw(st.one_of(st.sampled_from(["", "a b", 'a"b']), st.text(max_size=20)))
    record.received, record.sent = draw(COUNTS), draw(COUNTS)
    record.ended = draw(SECONDS)
    record.first_byte = draw(st.one_of(st.just(0.0), st.just(record.ended), SECONDS))
    record.is_reused = draw(st.booleans())
    record.error = draw(st.one_of(st.just(""), LATIN1))
    return record, method, target


def add(
    block: "FastLines", record: Record, upstream: tuple[str, int] | None, method: bytes, line: bytes
) -> None:
    block.add(
        record.client, record.kind, method, line, record.protocol, record.status, upstream,
        record.workspace, record.received, record.sent, record.started, record.first_byte or None,
        record.ended, record.is_reused, record.error,
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
@given(
    st.lists(records(), min_size=1, max_size=4),
    st.sampled_from([b" HTTP/1.1\r\nHost: a\r\n", b" HTTP/1.0\n", b" HTTP/1.1\n", b" x\n", b" -"]),
)
def test_they_have_the_same_bytes(
    log_format: str, made: list[tuple[Record, bytes, bytes]], behind: bytes
) -> None:
    block = FastLines(log_format, list, bool, BLOCK_SIZE)
    for record, method, target in made:
        upstream = (record.host, record.port) if record.port else None
        line = b"%b %b%b" % (method, target, behind)
        # The second one finds the upstream of the first.
        add(block, record, upstream, method, line)
        lines = [block.take()]
        add(block, record, upstream, method, line)
        lines.append(block.take())
        block.put(record)
        lines.append(block.take())
        for line in lines:
            at = second_of(line, log_format)
            assert line == encode(FORMATS[log_format](record, at))


@pytest.mark.skipif(not HAS_FAST_LINES, reason="this is the pure build")
@pytest.mark.parametrize("log_format", FORMATS)
def test_every_byte_at_every_position_is_escaped(log_format: str) -> None:
    block = FastLines(log_format, list, bool, BLOCK_SIZE)
    record = Record(REQUEST, "192.0.2.1", 0.0)
    for byte, length in itertools.product(OTHERS, [1, 5, 8, 19]):
        for position in range(length):
            path = b"/" + b"a" * position + bytes([byte]) + b"a" * (length - 1 - position)
            record.path = path_of(path)
            block.put(record)
            line = block.take()
            assert line == encode(FORMATS[log_format](record, second_of(line, log_format)))


@pytest.mark.skipif(not HAS_FAST_LINES, reason="this is the pure build")
@pytest.mark.parametrize("log_format", FORMATS)
def test_small_numbers_have_the_same_digits(log_format: str) -> None:
    block = FastLines(log_format, list, bool, BLOCK_SIZE)
    for number in [*range(1200), 9999, 10000, 99999, 100000]:
        record = Record(REQUEST, "192.0.2.1", 0.0)
        record.sent = record.received = record.status = number
        record.ended = number / 1e6
        block.put(record)
        line = block.take()
        assert line == encode(FORMATS[log_format](record, second_of(line, log_format)))


@pytest.mark.skipif(not HAS_FAST_LINES, reason="this is the pure build")
def test_each_of_many_upstreams_is_in_its_lines() -> None:
    block = FastLines("text", list, bool, BLOCK_SIZE)
    record = Record(REQUEST, "192.0.2.1", 0.0)
    for port in [*range(1, 3000), *range(1, 3000, 7)]:
        for _ in range(2):
            add(block, record, ("127.0.0.1", port), b"GET", b"GET / HTTP/1.1\r\n")
            assert b" port=%d workspace=- upstream=127.0.0.1:%d in=" % (port, port) in block.take()


@pytest.mark.skipif(not HAS_FAST_LINES, reason="this is the pure build")
def test_its_clock_is_that_of_python() -> None:
    before = time.monotonic()
    now = clock.monotonic()
    assert before <= now <= time.monotonic()


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
