"""Lines of the access log, in each format."""

import json
import logging
import re

import pytest

from cmux_proxy.observe.access_log import FORMATS, LOGGER, as_json, combined, log, text
from cmux_proxy.observe.line_block import make_block
from cmux_proxy.observe.record import (
    HTTP_1_1,
    MAX_METHOD,
    MAX_WORKSPACE,
    REQUEST,
    UPGRADE,
    Record,
    fit,
    path_of,
)


def full() -> Record:
    """Return a record with a value in every field."""
    record = Record(REQUEST, "192.0.2.1", 100.0)
    record.first_byte, record.ended = 100.25, 101.5
    record.method, record.path, record.protocol = "GET", "/a", "HTTP/1.0"
    record.status, record.error = 502, "connection_refused"
    record.host, record.port, record.workspace = "::1", 3000, "ws-1"
    record.received, record.sent = 10, 20
    record.is_reused = True
    return record


def empty() -> Record:
    """Return the record of a client whose request was not read."""
    record = Record(REQUEST, "", 100.0)
    record.status = 400
    return record


# 2026-11-25T10:00:00.5Z
AT = 1795600800.5


def test_text_has_everything_in_one_line() -> None:
    assert text(full(), AT) == (
        "2026-11-25T10:00:00.500Z 192.0.2.1 request GET /a 502 port=3000 workspace=ws-1 "
        "upstream=[::1]:3000 in=10 out=20 seconds=1.5000 first=0.2500 reused=yes "
        "protocol=HTTP/1.0 error=connection_refused"
    )


@pytest.mark.parametrize(
    ("workspace", "logged"),
    [
        ("a status=200 upstream=1.2.3.4:5", '"a status=200 upstream=1.2.3.4:5"'),
        ('"a"', '"\\"a\\""'),
        ("a=b", "a=b"),
    ],
)
def test_a_workspace_cannot_be_mistaken_for_other_fields_of_a_line(
    workspace: str, logged: str
) -> None:
    record = full()
    record.workspace = workspace
    assert f" workspace={logged} upstream=[::1]:3000 in=10 " in text(record, AT)


def test_text_has_a_dash_for_nothing() -> None:
    assert text(empty(), AT) == (
        "2026-11-25T10:00:00.500Z - request - - 400 port=- workspace=- upstream=- in=0 out=0 "
        "seconds=0.0000 first=- reused=no protocol=- error=-"
    )


def test_json_has_the_same_and_null_for_nothing() -> None:
    assert json.loads(as_json(full(), AT)) == {
        "time": "2026-11-25T10:00:00.500Z", "client": "192.0.2.1", "kind": "request",
        "method": "GET", "path": "/a", "status": 502, "port": 3000, "workspace": "ws-1",
        "upstream": "[::1]:3000", "bytes_in": 10, "bytes_out": 20, "seconds": 1.5,
        "first_byte_seconds": 0.25, "reused": True, "error": "connection_refused",
        "protocol": "HTTP/1.0",
    }  # fmt: skip
    fields = json.loads(as_json(empty(), AT))
    assert {name for name, value in fields.items() if value is None} == {
        "client", "method", "path", "port", "workspace", "upstream", "first_byte_seconds", "error",
        "protocol",
    }  # fmt: skip


def test_combined_is_the_format_of_apache_and_nginx() -> None:
    record = full()
    record.path = '/a"b\\c'
    line = combined(record, AT)
    assert line == (
        '192.0.2.1 - - [25/Nov/2026:10:00:00 +0000] "GET /a\\"b\\\\c HTTP/1.0" 502 20 "-" "-"'
    )
    assert combined(empty(), AT) == ('- - - [25/Nov/2026:10:00:00 +0000] "-" 400 0 "-" "-"')
    assert re.fullmatch(r'\S+ \S+ \S+ \[[^]]+\] "(?:[^"\\]|\\.)*" \d+ \d+ "[^"]*" "[^"]*"', line)


def test_no_line_is_made_where_the_level_is_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, LOGGER.name)
    log(full())
    assert not caplog.records


def test_a_program_that_embeds_the_proxy_has_the_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)
    log(full())
    assert caplog.messages[0].startswith("192.0.2.1 request GET /a 502 port=3000 ")


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("character", ["a", '"', "\\", "\x7f", "\xff"])
def test_the_longest_line_is_less_than_a_pipe_takes_as_a_whole(
    log_format: str, character: str
) -> None:
    record = Record(UPGRADE, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%a-long-interface]", 0.0)
    record.method, record.protocol = "M" * MAX_METHOD, HTTP_1_1
    record.path = path_of(b"/" + character.encode("latin-1") * 4000)
    record.workspace = fit(character * 4000, MAX_WORKSPACE)
    record.host, record.port = ".".join(["h" * 62] * 4), 65535
    record.received = record.sent = 2**63 - 1
    record.first_byte, record.ended = 1e9 / 3, 2e9 / 3
    record.error = "http_response_incomplete"
    block = make_block(log_format, list, bool)
    block.put(record)
    assert len(block.take()) < 4096
