"""The opening handshake: keys, subprotocols and the heads of both ends."""

import base64

import pytest
from websockets.client import ClientProtocol
from websockets.http11 import Response
from websockets.streams import StreamReader
from websockets.uri import parse_uri
from websockets.utils import accept_key

from cmux_proxy.websocket.opening import (
    accept_of,
    choose_subprotocol,
    encode_key,
    is_key,
    read_subprotocols,
    request_lines,
    switching_head,
)

# RFC 6455 section 1.3
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


def test_the_keys_of_the_rfc() -> None:
    assert encode_key(b"the sample nonce") == KEY
    assert accept_of(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" == accept_key(KEY.decode()).encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(KEY, True, id="key"),
        pytest.param(b"", False, id="empty"),
        pytest.param(base64.b64encode(bytes(15)), False, id="short"),
        pytest.param(base64.b64encode(bytes(17)), False, id="17 bytes"),
        pytest.param(base64.b64encode(bytes(18)), False, id="18 bytes"),
        pytest.param(KEY[:-1], False, id="no padding"),
        pytest.param(KEY[:-2] + b"!=", False, id="another letter"),
        pytest.param(b" " + KEY[1:], False, id="space"),
        pytest.param(KEY + b"\n", False, id="line end"),
    ],
)
def test_a_key_is_sixteen_bytes_in_base64(value: bytes, expected: bool) -> None:
    assert is_key(value) is expected


@pytest.mark.parametrize(
    ("values", "offered", "chosen"),
    [
        pytest.param([], [], b"", id="none"),
        pytest.param([b""], [], b"", id="empty"),
        pytest.param([b"binary"], [b"binary"], b"binary", id="binary"),
        pytest.param(
            [b"binary, cmux-tcp.v1"], [b"binary", b"cmux-tcp.v1"], b"cmux-tcp.v1", id="preferred"
        ),
        pytest.param(
            [b"base64,", b"\tbinary "], [b"base64", b"binary"], b"binary", id="several lines"
        ),
        pytest.param([b"chat"], [b"chat"], b"", id="unknown"),
        pytest.param([b"Binary"], [b"Binary"], b"", id="case matters"),
        pytest.param([b"cmux-tcp.v12"], [b"cmux-tcp.v12"], b"", id="another version"),
    ],
)
def test_subprotocols(values: list[bytes], offered: list[bytes], chosen: bytes) -> None:
    assert read_subprotocols(values) == offered
    assert choose_subprotocol(offered) == chosen


@pytest.mark.parametrize("value", [b"a b", b'"binary"', b"binary; q=1", b"bin\xe4ry"])
def test_what_is_no_list_of_subprotocols(value: bytes) -> None:
    assert read_subprotocols([b"binary", value]) is None


def test_websockets_takes_the_head_of_the_response() -> None:
    protocol = ClientProtocol(parse_uri("ws://a/"), subprotocols=None)
    protocol.key = KEY.decode()
    stream = StreamReader()
    stream.feed_data(switching_head(KEY, b""))
    protocol.process_response(parse(stream))
    assert protocol.subprotocol is None
    assert b"Protocol: cmux-tcp.v1\r\n\r\n" in switching_head(KEY, b"cmux-tcp.v1")


def parse(stream: StreamReader) -> Response:
    """Return the response in a stream."""
    parser = Response.parse(stream.read_line, stream.read_exact, stream.read_to_eof)
    try:
        next(parser)
    except StopIteration as done:
        response: Response = done.value
        return response
    raise AssertionError("not a whole response")


def test_the_lines_of_a_client() -> None:
    lines = request_lines(KEY).split(b"\r\n")
    assert lines[-1] == b""
    assert b"Sec-WebSocket-Key: " + KEY in lines
    assert b"Sec-WebSocket-Version: 13" in lines
    assert b"Sec-WebSocket-Protocol: cmux-tcp.v1, binary" in lines
    assert {b"Connection: Upgrade", b"Upgrade: websocket"} < set(lines)
    assert b"Protocol" not in request_lines(KEY, ())
