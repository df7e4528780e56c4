"""What the next hop is told in the place of what holds for this one: TE, Upgrade, Connection.

Whole requests are in the corpus, `te-*` and `h2c-*`.
"""

import pytest

from cmux_proxy.http1.grammar import QUOTED_STRING
from cmux_proxy.http1.head import RequestHead, Span, Spans
from cmux_proxy.http1.hop_by_hop import has_trailers, renewal, take_h2c_out, upgrade_lines
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
    assert has_trailers(value)


@pytest.mark.parametrize(
    "value",
    [b"", b",", b"trailer", b"trailers;q=1", b"trailers ;a", b"a trailers", b'a;b="x, trailers, y"',
     b'trailers""', b'""trailers', b'a;b="\\", trailers, "'],
)  # fmt: skip
def test_what_only_resembles_trailers_is_not(value: bytes) -> None:
    assert not has_trailers(value)


@pytest.mark.parametrize("piece", [b'"', b'\\"', b"\\", b'"\\', b'a"'])
def test_quoted_strings_are_found_in_one_pass(piece: bytes) -> None:
    """However many quotes stand there, none begins a second search over the same bytes."""
    for size in range(1, 9):
        value = b'"' + piece * size
        spans = [match.span() for match in QUOTED_STRING.finditer(value)]
        assert all(value[start : start + 1] == b'"' for start, _end in spans)
        assert b'"' not in QUOTED_STRING.sub(b"", value)
    assert not has_trailers(b'"' + b'\\"' * 30_000 + b", trailers")


@pytest.mark.parametrize("upgrade", [b"h2c", b"H2C", b", h2c,", b"h2c, h2C"])
def test_an_upgrade_to_http2_alone_is_none(upgrade: bytes) -> None:
    head = request(b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n" + SETTINGS + b"A: 1\r\n")
    assert head.fields.upgrade is None
    assert head.plain.endswith(b"1.1\r\nA: 1\r\n\r\n")


@pytest.mark.parametrize("protocol", [b"h2", b"h2c-14", b"h2c/1", b"xh2c", b'"h2c"'])
def test_another_protocol_stays_with_the_settings(protocol: bytes) -> None:
    head = request(b"Upgrade: " + protocol + b"\r\n" + SETTINGS)
    assert head.fields.upgrade == protocol
    assert head.plain.endswith(b"1.1\r\n" + SETTINGS + b"\r\n")


def test_nothing_is_taken_out_of_a_head_without_upgrade() -> None:
    head = request(SETTINGS)
    spans = Spans()
    take_h2c_out(head.fields, spans)
    assert (head.fields.upgrade, spans.cuts) == (None, ())


def test_a_plain_request_has_its_te_renewed_from_http11_on() -> None:
    head = request(b"TE: trailers\r\n")
    assert renewal(head, head.spans(), False) == ((), b"TE: trailers\r\nConnection: TE\r\n")
    old = request(b"TE: trailers\r\n", b"1.0")
    assert renewal(old, old.spans(), False) == ((), b"")


@pytest.mark.parametrize(
    ("fields", "stay", "anew"),
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
    ids=["as it came", "nominating", "with TE", "with h2c", "with both"],
)  # fmt: skip
def test_a_handshake_is_written_anew_where_it_has_to_be(
    fields: bytes, stay: list[bytes], anew: bytes
) -> None:
    head = request(fields)
    spans, added = renewal(head, head.spans(), True)
    assert (lines(head, spans), added) == (stay, anew)


def test_the_lines_of_upgrade_are_told_from_those_of_connection() -> None:
    head = request(b"upgrade: a\r\nA: 1\r\nconnection: upgrade\r\nUpgrade: b\r\n")
    spans = upgrade_lines(head.section(), head.spans())
    assert lines(head, spans) == [b"upgrade: a\r\n", b"Upgrade: b\r\n"]
