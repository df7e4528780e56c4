"""Upgrades: whether a request asks for one, and whether a 101 response grants it."""

import pytest

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head import RequestHead
from cmux_proxy.http1.upgrade import check_upgrade_granted, requests_upgrade
from tests.helpers.judging import request_head, response_head


def request(fields: bytes, version: bytes = b"1.1") -> RequestHead:
    return request_head(b"GET / HTTP/" + version + b"\r\n" + fields + b"\r\n")


def offer(protocols: bytes) -> RequestHead:
    return request(b"Connection: upgrade\r\nUpgrade: " + protocols + b"\r\n")


def refusal_of(fields: bytes, requesting: RequestHead, was_requested: bool = True) -> str:
    head = response_head(b"HTTP/1.1 101 X\r\n" + fields + b"\r\n")
    with pytest.raises(BadMessage) as caught:
        check_upgrade_granted(requesting, head, was_requested)
    return caught.value.reason


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: upgrade\r\nUpgrade: websocket\r\n",
        b"Upgrade: a/1, b\r\nConnection: x, UPGRADE\r\n",
        b"Connection: close\r\nConnection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n",
        b"Connection: upgrade\r\nUpgrade: ,a,\r\n",
    ],
)
def test_an_upgrade_needs_both_fields(fields: bytes) -> None:
    assert requests_upgrade(request(fields))


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Connection: upgrade\r\n",
        b"Upgrade: websocket\r\n",
        b"Connection: upgraded\r\nUpgrade: websocket\r\n",
        b"Connection: upgrade\r\nUpgrade:\r\n",
        b"Connection: upgrade\r\nUpgrade: , ,\r\n",
        b"Connection: close\r\nUpgrade: not a list\r\n",
    ],
)
def test_one_of_the_fields_requests_nothing(fields: bytes) -> None:
    assert not requests_upgrade(request(fields))


def test_http10_cannot_request_an_upgrade() -> None:
    assert not requests_upgrade(request(b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"1.0"))
    assert not requests_upgrade(request(b"Connection: upgrade\r\nUpgrade: a b\r\n", b"1.0"))


@pytest.mark.parametrize("value", [b"a b", b"a//b", b"a/", b"/b", b"a;b", b"a, b c", b"\xe4"])
def test_a_malformed_offer_is_refused(value: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        requests_upgrade(offer(value))
    assert caught.value.reason == "Upgrade is not a list of protocols"


@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        (b"websocket", b"websocket"),
        (b"websocket", b"WebSocket"),
        (b"WEBSOCKET", b"websocket,"),
        (b"a/1, b", b"b"),
        (b"a/1, b", b"A/1, B"),
    ],
)
def test_a_switch_to_a_requested_protocol_is_granted(requested: bytes, granted: bytes) -> None:
    head = response_head(b"HTTP/1.1 101 X\r\nUpgrade: " + granted + b"\r\n\r\n")
    check_upgrade_granted(offer(requested), head, was_requested=True)


@pytest.mark.parametrize(
    ("requested", "granted"),
    [(b"a", b"b"), (b"a/1", b"a"), (b"a", b"a/1"), (b"a", b"a, b"), (b"ab", b"a")],
)
def test_a_switch_to_another_protocol_is_refused(requested: bytes, granted: bytes) -> None:
    assert refusal_of(b"Upgrade: " + granted + b"\r\n", offer(requested)) == (
        "a 101 response with a protocol that was not requested"
    )


def test_an_unrequested_switch_is_refused() -> None:
    unrequested = "a 101 response to a request without an upgrade"
    assert refusal_of(b"Upgrade: a\r\n", offer(b"a"), was_requested=False) == unrequested
    assert refusal_of(b"Upgrade: a\r\n", request(b"Connection: upgrade\r\n")) == unrequested


@pytest.mark.parametrize("fields", [b"", b"Upgrade:\r\n", b"Upgrade: ,\r\n"])
def test_a_101_without_a_protocol_is_refused(fields: bytes) -> None:
    assert refusal_of(fields, offer(b"a")) == "a 101 response that names no protocol"


def test_a_malformed_grant_is_refused() -> None:
    assert refusal_of(b"Upgrade: a b\r\n", offer(b"a")) == "Upgrade is not a list of protocols"
