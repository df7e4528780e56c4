"""Header lists become heads of HTTP/1.1 (RFC 9113 section 8.3), or are refused with a rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.reserved_fields import NO_RESERVED_FIELDS
from cmux_proxy.http1.scan import RequestScanner
from cmux_proxy.http2.error_codes import PROTOCOL_ERROR
from cmux_proxy.http2.errors import StreamFault
from cmux_proxy.http2.header_field import HeaderField
from cmux_proxy.http2.request_composer import RequestComposer, compose_trailers
from tests.helpers.http2_frames import GET, HEAD_LIMITS, POST, Fields

CONNECT: Fields = [(b":method", b"CONNECT"), (b":authority", b"a:80")]
WEBSOCKET: Fields = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    *GET[1:],
]


def composed(fields: Fields, is_last: bool = True) -> bytes:
    """Return the head."""
    return RequestComposer().compose([HeaderField(*field) for field in fields], is_last)


def without(fields: Fields, *names: bytes) -> Fields:
    """Return the fields except some."""
    return [field for field in fields if field[0] not in names]


def test_host_comes_first_and_fields_keep_their_order() -> None:
    fields = [*GET, (b"b", b"1"), (b"a", b"2"), (b"b", b"3")]
    assert composed(fields) == b"GET / HTTP/1.1\r\nhost: a\r\nb: 1\r\na: 2\r\nb: 3\r\n\r\n"


def test_the_order_of_pseudo_fields_does_not_matter() -> None:
    assert composed(GET[::-1]) == composed(GET)


def test_cookie_crumbs_are_joined() -> None:
    fields = [*GET, (b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"c=3")]
    head = b"GET / HTTP/1.1\r\nhost: a\r\nx: y\r\ncookie: a=1; b=2; c=3\r\n\r\n"
    assert composed(fields) == head


def test_a_body_of_unknown_length_is_chunked() -> None:
    composer = RequestComposer()
    head = composer.compose([HeaderField(*field) for field in POST], False)
    assert head == b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    assert composer.content_length == -1


@pytest.mark.parametrize(("length", "is_last"), [(b"5", False), (b"0", False), (b"0", True)])
def test_a_known_length_is_kept(length: bytes, is_last: bool) -> None:
    composer = RequestComposer()
    fields = [*POST, (b"content-length", length)]
    head = composer.compose([HeaderField(*field) for field in fields], is_last)
    assert head == b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: " + length + b"\r\n\r\n"
    assert composer.content_length == int(length)


def test_a_request_without_a_body_has_no_length() -> None:
    composer = RequestComposer()
    assert composer.compose([HeaderField(*field) for field in GET], True).count(b"\r\n") == 3
    assert composer.content_length == 0


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ([*without(GET, b":authority"), (b"host", b"b")], b"host: b\r\n"),
        ([*GET, (b"host", b"a")], b"host: a\r\n"),
        ([*GET, (b"host", b"A")], b"host: a\r\n"),
        (without(GET, b":authority"), b""),
    ],
    ids=["host-alone", "equal", "equal-but-for-case", "neither"],
)
def test_host_is_the_authority_or_the_host_field(fields: Fields, host: bytes) -> None:
    assert composed(fields) == b"GET / HTTP/1.1\r\n" + host + b"\r\n"


def test_te_trailers_and_expect_are_kept() -> None:
    fields = [*POST, (b"te", b"trailers"), (b"expect", b"100-continue")]
    assert b"te: trailers\r\nexpect: 100-continue\r\n" in composed(fields)


def test_options_may_be_for_the_whole_server() -> None:
    fields = [(b":method", b"OPTIONS"), *GET[1:3], (b":path", b"*")]
    assert composed(fields).startswith(b"OPTIONS * HTTP/1.1\r\n")


def test_a_connect_has_the_authority_as_its_target() -> None:
    composer = RequestComposer()
    head = composer.compose([HeaderField(*field) for field in CONNECT], False)
    assert head == b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n"
    assert composer.is_tunnel
    assert composer.protocol == b""


def test_an_extended_connect_becomes_an_upgrade() -> None:
    composer = RequestComposer()
    fields = [*WEBSOCKET, (b"sec-websocket-key", b"x"), (b"sec-websocket-version", b"13")]
    head = composer.compose([HeaderField(*field) for field in fields], False)
    assert head == (
        b"GET / HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\n"
        b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
    )
    assert composer.is_tunnel
    assert composer.protocol == b"websocket"


def test_the_media_type_of_grpc_is_noted_and_kept() -> None:
    composer = RequestComposer()
    fields = [*GET, (b"content-type", b"application/grpc")]
    head = composer.compose([HeaderField(*field) for field in fields], True)
    assert composer.is_grpc
    assert head.endswith(b"\r\ncontent-type: application/grpc\r\n\r\n")


def test_nothing_of_one_request_stays_for_the_next() -> None:
    composer = RequestComposer()
    first = [*WEBSOCKET, (b"cookie", b"a"), (b"x", b"y"), (b"content-type", b"application/grpc")]
    composer.compose([HeaderField(*field) for field in first], False)
    with pytest.raises(StreamFault):
        composer.compose([HeaderField(b"cookie", b"a"), HeaderField(b":method", b"GET")], True)
    assert composer.compose([HeaderField(*field) for field in GET], True) == composed(GET)
    assert (composer.is_grpc, composer.is_tunnel, composer.protocol) == (False, False, b"")


def test_a_key_outside_of_an_extended_connect_is_an_ordinary_field() -> None:
    assert b"\r\nsec-websocket-key: x\r\n" in composed([*GET, (b"sec-websocket-key", b"x")])


TWICE = "a pseudo-field comes twice"
LATE = "a pseudo-field comes after other fields"
MISSING = "the path or the scheme is missing"
TOO_SHORT = "the body is shorter than Content-Length"
PATH_IN_CONNECT = "CONNECT has a path or a scheme"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        pytest.param([], "the method is missing", id="nothing"),
        pytest.param(without(GET, b":method"), "the method is missing", id="no-method"),
        pytest.param(without(GET, b":path"), MISSING, id="no-path"),
        pytest.param(without(GET, b":scheme"), MISSING, id="no-scheme"),
        *(pytest.param([*GET, field], TWICE, id=f"two-{field[0].decode()}") for field in GET),
        pytest.param([*WEBSOCKET, WEBSOCKET[1]], TWICE, id="two-:protocol"),
        pytest.param([(b"a", b"b"), *GET], LATE, id="after-a-field"),
        pytest.param([(b"cookie", b"b"), *GET], LATE, id="after-a-cookie"),
        pytest.param([*GET[:3], (b"host", b"a"), GET[3]], LATE, id="after-host"),
        pytest.param([(b"content-length", b"0"), *GET], LATE, id="after-a-length"),
        pytest.param([*CONNECT, (b":path", b"/")], PATH_IN_CONNECT, id="connect-with-path"),
        pytest.param([*CONNECT, (b":scheme", b"http")], PATH_IN_CONNECT, id="connect-with-scheme"),
        pytest.param(CONNECT[:1], "CONNECT has no authority", id="connect-without-authority"),
        pytest.param(
            [*CONNECT[:1], (b":authority", b"")], "CONNECT has no authority", id="connect-empty"
        ),
        pytest.param([*CONNECT, (b":protocol", b"websocket")], MISSING, id="extended-without-path"),
        pytest.param(without(WEBSOCKET, b":scheme"), MISSING, id="extended-without-scheme"),
        pytest.param([*GET, WEBSOCKET[1]], "a protocol is for CONNECT only", id="get-protocol"),
        pytest.param([*GET[:3], (b":path", b"*")], "the path * is for OPTIONS only", id="get-star"),
        pytest.param(
            [*CONNECT, (b"content-length", b"0")], "CONNECT has Content-Length", id="connect-length"
        ),
        pytest.param([*POST, (b"content-length", b"1")], TOO_SHORT, id="short"),
        pytest.param(
            [*POST, (b"content-length", b"0"), (b"content-length", b"0")],
            "there is more than one Content-Length field",
            id="two-lengths",
        ),
        pytest.param(
            [*GET, (b"upgrade", b"x")], "a field is for connections of HTTP/1 only", id="upgrade"
        ),
        pytest.param([*GET, (b"A", b"x")], "a field name has upper-case letters", id="upper-case"),
    ],
)
def test_a_malformed_request_resets_its_stream(fields: Fields, rule: str) -> None:
    with pytest.raises(StreamFault) as caught:
        composed(fields)
    assert (caught.value.code, caught.value.rule) == (PROTOCOL_ERROR, rule)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([*GET, (b"host", b"b")], "Host and :authority differ"),
        ([*GET, (b"host", b"")], "Host and :authority differ"),
        ([*GET, (b"host", b"a:80")], "Host and :authority differ"),
        ([*GET, (b"host", b"a"), (b"host", b"a")], "there is more than one Host field"),
    ],
)
def test_another_host_gets_a_response(fields: Fields, reason: str) -> None:
    with pytest.raises(BadMessage) as caught:
        composed(fields)
    assert (caught.value.status, caught.value.reason) == (400, reason)


def trailers(*fields: tuple[bytes, bytes]) -> bytes:
    """Return the lines of a trailer section."""
    return compose_trailers([HeaderField(*field) for field in fields])


def test_trailers_become_lines() -> None:
    assert trailers((b"grpc-status", b"0"), (b"a", b"")) == b"grpc-status: 0\r\na: \r\n"
    assert trailers() == b""


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ((b":path", b"/"), "a trailer section has a pseudo-field"),
        ((b":status", b"200"), "a pseudo-field is not defined for requests"),
        ((b"connection", b"close"), "a field is for connections of HTTP/1 only"),
        ((b"a", b"b\r\nc: d"), "a field value has bytes that are not allowed"),
        ((b"A", b"b"), "a field name has upper-case letters"),
    ],
)
def test_malformed_trailers_reset_their_stream(field: tuple[bytes, bytes], rule: str) -> None:
    with pytest.raises(StreamFault) as caught:
        trailers((b"a", b"b"), field)
    assert caught.value.rule == rule


NAMES = st.one_of(
    st.sampled_from([name for name, _value in [*GET, *WEBSOCKET]]),
    st.sampled_from([b"host", b"cookie", b"content-length", b"te", b"a", b"x-y"]),
    st.binary(max_size=6),
)
VALUES = st.one_of(
    st.sampled_from([b"GET", b"CONNECT", b"/", b"*", b"http", b"a", b"a:1", b"5", b"websocket"]),
    st.binary(max_size=8),
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.booleans(), st.booleans())
def test_a_head_is_one_head_for_the_scan(
    fields: list[tuple[bytes, bytes]], has_start: bool, is_last: bool
) -> None:
    try:
        head = composed([*(GET if has_start else []), *fields], is_last)
    except (BadMessage, StreamFault):
        return
    assert head.find(b"\r\n\r\n") == len(head) - 4
    scanner = RequestScanner(HEAD_LIMITS, NO_RESERVED_FIELDS)
    try:
        scanned = scanner.scan(head, 0)
    except BadMessage as error:
        reason = error.reason
        scanned = None
    if scanned is None:
        # What this room leaves to the scan.
        assert "Host" in reason or "Expect" in reason
        return
    assert scanned.end == len(head)
    lines = head.split(b"\r\n")[1:-2]
    ordinary = [field for field in fields if not field[0].startswith(b":")]
    assert len(lines) <= len(ordinary) + 4
