"""The responses of the proxy itself, byte for byte."""

import h11
import pytest

from cmux_proxy.http1.local_reply import (
    CONNECTION_ESTABLISHED,
    Content,
    error_response,
    text_content,
)

DATE = b"Tue, 15 Nov 1994 08:12:31 GMT"


def test_the_response_to_a_connect_has_no_framing() -> None:
    assert CONNECTION_ESTABLISHED == b"HTTP/1.1 200 Connection established\r\n\r\n"


def test_an_error_is_a_whole_response() -> None:
    assert error_response(
        502, text_content("no"), "connection_refused", DATE, True, b"Connection: close\r\n"
    ) == (
        b"HTTP/1.1 502 Bad Gateway\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 3\r\n"
        b"Cache-Control: no-store\r\n"
        b"Proxy-Status: cmux-proxy; error=connection_refused\r\n"
        b"Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"no\n"
    )


def test_a_response_to_head_has_the_length_and_no_body() -> None:
    with_body = error_response(
        503, text_content("later"), "connection_limit_reached", DATE, True, b""
    )
    without = error_response(
        503, text_content("later"), "connection_limit_reached", DATE, False, b""
    )
    assert with_body == without + b"later\n"
    assert b"Content-Length: 6\r\n" in without


def test_the_length_counts_bytes() -> None:
    response = error_response(400, text_content("ä€"), "http_request_error", DATE, True, b"")
    assert b"Content-Length: 6\r\n" in response
    assert response.endswith("\r\n\r\nä€\n".encode())


@pytest.mark.parametrize("status", [400, 408, 414, 417, 431, 502, 503, 504, 505, 508])
def test_h11_reads_every_error_response(status: int) -> None:
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(
        error_response(status, text_content("text"), "error", DATE, True, b"Retry-After: 1\r\n")
    )
    response = reader.next_event()
    assert isinstance(response, h11.Response)
    assert response.status_code == status
    assert response.reason
    assert (b"retry-after", b"1") in response.headers
    data = reader.next_event()
    assert isinstance(data, h11.Data)
    assert data.data == b"text\n"
    assert isinstance(reader.next_event(), h11.EndOfMessage)


def test_a_status_without_a_standard_phrase_is_sent_too() -> None:
    response = error_response(499, text_content("no"), "http_request_error", b"now", True, b"")
    assert response.startswith(b"HTTP/1.1 499 Refused\r\n")


def test_a_content_has_its_own_media_type_and_fields() -> None:
    content = Content("application/json", b"{}", b"Vary: Accept\r\n")
    response = error_response(502, content, "e", DATE, True, b"A: b\r\n")
    assert b"\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" in response
    assert response.endswith(b" GMT\r\nVary: Accept\r\nA: b\r\n\r\n{}")
