"""Hop-by-hop fields for the next connection: TE, Upgrade and Connection.

Whole requests are in the corpus, `te-*` and `h2c-*`.
"""

import pytest

from cmux_proxy.http1.grammar import QUOTED_STRING
from cmux_proxy.http1.head import Fields, RequestHead, Span, Spans
from cmux_proxy.http1.hop_by_hop import (
    remove_h2c,
    renew_hop_by_hop,
    te_accepts_trailers,
)
from tests.helpers.judging import request_head

SETTINGS = b"HTTP2-Settings: a\r\n"


def request(fields: bytes, version: bytes = b"1.1") -> RequestHead:
    return request_head(b"GET / HTTP/" + version + b"\r\n" + fields + b"\r\n")


def lines(head: RequestHead, spans: tuple[Span, ...]) -> list[bytes]:
    return [head.section()[start:end] for start, end in spans]


@pytest.mark.parametrize(
    "value", [b"trailers", b"Trailers", b"a;q=1,\ttrailers ,b", b",trailers,", b'a;b=",", trailers']
)
def test_trailers_is_a_member_of_te(value: bytes) -> None:
    assert te_accepts_trailers(value)


@pytest.mark.parametrize(
    "value",
    [b"", b",", b"trailer", b"trailers;q=1", b"trailers ;a", b"a trailers", b'a;b="x, trailers, y"',
     b'trailers""', b'""trailers', b'a;b="\\", trailers, "'],
)  # fmt: skip
def test_a_value_that_resembles_trailers_is_not_a_member(value: bytes) -> None:
    assert not te_accepts_trailers(value)


@pytest.mark.parametrize("piece", [b'"', b'\\"', b"\\", b'"\\', b'a"'])
def test_quoted_strings_are_found_in_one_pass(piece: bytes) -> None:
    """No number of quotes causes a second search over the same bytes."""
    for size in range(1, 9):
        value = b'"' + piece * size
        spans = [match.span() for match in QUOTED_STRING.finditer(value)]
        assert all(value[start : start + 1] == b'"' for start, _end in spans)
        assert b'"' not in QUOTED_STRING.sub(b"", value)
    assert not te_accepts_trailers(b'"' + b'\\"' * 30_000 + b", trailers")


@pytest.mark.parametrize("upgrade", [b"h2c", b"H2C", b", h2c,", b"h2c, h2C"])
def test_an_upgrade_to_http2_alone_is_removed(upgrade: bytes) -> None:
    head = request(b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n" + SETTINGS + b"A: 1\r\n")
    assert head.upgrade is None
    assert head.stripped.endswith(b"1.1\r\nA: 1\r\n\r\n")


@pytest.mark.parametrize("protocol", [b"h2", b"h2c-14", b"h2c/1", b"xh2c", b'"h2c"'])
def test_another_protocol_is_kept_with_the_settings(protocol: bytes) -> None:
    head = request(b"Upgrade: " + protocol + b"\r\n" + SETTINGS)
    assert head.upgrade == protocol
    assert head.stripped.endswith(b"1.1\r\n" + SETTINGS + b"\r\n")


def test_a_head_without_upgrade_is_not_changed() -> None:
    fields = Fields()
    spans = Spans()
    remove_h2c(fields, spans)
    assert (fields.upgrade, spans.cuts) == (None, ())


def test_the_te_of_an_http11_request_is_renewed() -> None:
    head = request(b"TE: trailers\r\n")
    assert renew_hop_by_hop(head, head.spans(), False) == (
        (),
        b"TE: trailers\r\nConnection: TE\r\n",
    )
    old = request(b"TE: trailers\r\n", b"1.0")
    assert renew_hop_by_hop(old, old.spans(), False) == ((), b"")


@pytest.mark.parametrize(
    ("fields", "kept", "added"),
    [
        (b"Connection: upgrade\r\nUpgrade: a\r\n",
         [b"Connection: upgrade\r\n", b"Upgrade: a\r\n"], b""),
        (b"upgrade: a\r\nConnection: upgrade, x\r\nUPGRADE: b\r\n",
         [b"upgrade: a\r\n", b"UPGRADE: b\r\n"], b"Connection: upgrade\r\n"),
        (b"Connection: upgrade\r\nUpgrade: a\r\nTE: trailers\r\n",
         [b"Upgrade: a\r\n"], b"TE: trailers\r\nConnection: upgrade, TE\r\n"),
        (b"Connection: upgrade\r\nUpgrade: a,h2c\r\nUpgrade: b\r\n" + SETTINGS,
         [], b"Upgrade: a, b\r\nConnection: upgrade\r\n"),
        (b"Connection: upgrade\r\nUpgrade: a,h2c\r\nTE: trailers\r\n" + SETTINGS,
         [], b"Upgrade: a\r\nTE: trailers\r\nConnection: upgrade, TE\r\n"),
    ],
    ids=["unchanged", "nominating", "with TE", "with h2c", "with both"],
)  # fmt: skip
def test_the_fields_of_an_upgrade_are_written_again_if_they_changed(
    fields: bytes, kept: list[bytes], added: bytes
) -> None:
    head = request(fields)
    spans, new_lines = renew_hop_by_hop(head, head.spans(), True)
    assert (lines(head, spans), new_lines) == (kept, added)


def test_the_lines_of_upgrade_and_of_connection_are_separate() -> None:
    head = request(b"upgrade: a\r\nA: 1\r\nconnection: upgrade\r\nUpgrade: b\r\n")
    spans = head.spans()
    assert lines(head, spans.upgrade_lines) == [b"upgrade: a\r\n", b"Upgrade: b\r\n"]
    assert lines(head, spans.connection_lines) == [b"connection: upgrade\r\n"]
