"""The proxy forwards exactly one request of an attack, through real sockets.

The upstream is lax, and the bytes that it receives are compared. The next request, on the same
connection or on another, gets its own response.
"""

import pytest

from tests.helpers.lenient import FRAMING_PREFERENCES, FramingPreference, text_response
from tests.helpers.messages import Reader
from tests.helpers.timing import soon
from tests.smuggling.attacks import CHUNKS, CODING, HIDDEN, LENGTH, POST, attack
from tests.smuggling.world import World, forwarded, plain_request, statuses, world

ROUTED = b"X-Cmux-Port-Internal: 1\r\n"
START = POST.replace(ROUTED, b"")
LAST = b"0\r\n\r\n"


async def last(on: World, data: bytes) -> bytes:
    """Send requests and a last one with close; return all bytes that arrive."""
    close = plain_request(b"/last").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    return await on.attack(data + close)


CL_0 = {
    method: attack(LENGTH).replace(b"POST", method.encode(), 1)
    for method in ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "POST", "get", "X")
}


@pytest.mark.parametrize("preference", FRAMING_PREFERENCES.values(), ids=FRAMING_PREFERENCES)
@pytest.mark.parametrize("data", CL_0.values(), ids=CL_0)
async def test_a_body_is_a_body_for_any_method(data: bytes, preference: FramingPreference) -> None:
    async with world(preference) as on:
        assert statuses(await last(on, data)) == [200, 200]
        # After HEAD the second request has a new connection.
        assert b"".join(on.received) == data.replace(ROUTED, b"") + forwarded(b"/last")
        assert [request.target for request in on.upstream.requests] == ["/", "/last"]
        assert on.upstream.requests[0].body == CHUNKS


# The bytes that the client sends, and those that the upstream receives.
KEPT = {
    "0.CL": (attack(b"Content-Length: 0\r\n", body=b""), START + b"Content-Length: 0\r\n\r\n"),
    "length in another spelling": (
        attack(b"cOnTeNt-LeNgTh: \t 003 \t\r\n", body=b"abc"),
        START + b"cOnTeNt-LeNgTh: \t 003 \t\r\n\r\nabc",
    ),
    "coding in another spelling": (
        attack(b"tRANSFER-eNCODING:  CHUNKED\r\n", body=LAST),
        START + b"tRANSFER-eNCODING:  CHUNKED\r\n\r\n" + LAST,
    ),
    "trailers that frame or route": (
        attack(CODING, body=b"0\r\nContent-Length: 9\r\nX-Cmux-Port-Internal: 1\r\nA: 1\r\n\r\n"),
        START + CODING + b"\r\n0\r\nA: 1\r\n\r\n",
    ),
    "extensions": (
        attack(CODING, body=b'3;a;b="c;d";e=f\r\nabc\r\n' + LAST),
        START + CODING + b'\r\n3;a;b="c;d";e=f\r\nabc\r\n' + LAST,
    ),
    "absolute form against Host": (
        plain_request(b"http://b/x?y").replace(b"\r\n\r\n", b"\r\nX-Forwarded-Host: c\r\n\r\n"),
        b"GET /x?y HTTP/1.1\r\nHost: b\r\nX-Forwarded-Host: c\r\n\r\n",
    ),
    "encoded line end": (plain_request(b"/%0d%0aX:%201"), forwarded(b"/%0d%0aX:%201")),
    "encoded dots and slashes": (plain_request(b"/..%2f%5c../a"), forwarded(b"/..%2f%5c../a")),
    "upgrade to HTTP/2": (
        attack(b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n", body=b""),
        START + b"\r\n",
    ),
    "upgrade that Connection does not name": (
        attack(b"Upgrade: h2c\r\n", body=b""),
        START + b"\r\n",
    ),
    "nominated fields": (
        attack(
            b"Connection: X-Forwarded-For, cookie\r\nX-Forwarded-For: a\r\nCookie: b\r\n", body=b""
        ),
        START + b"\r\n",
    ),
    "hop-by-hop fields": (
        attack(b"TE: chunked\r\nKeep-Alive: timeout=0\r\nProxy-Connection: close\r\n", body=b""),
        START + b"\r\n",
    ),
    "names that resemble": (
        attack(b"Content_Length: 5\r\nTransfer-Encoding-: chunked\r\nX-Host: b\r\n", body=b""),
        START + b"Content_Length: 5\r\nTransfer-Encoding-: chunked\r\nX-Host: b\r\n\r\n",
    ),
    "a request in a value": (
        attack(b"A: GET /hidden HTTP/1.1\r\n", body=b""),
        START + b"A: GET /hidden HTTP/1.1\r\n\r\n",
    ),
    "empty lines first": (b"\r\n\r\n" + plain_request(b"/"), forwarded(b"/")),
}


@pytest.mark.parametrize("preference", FRAMING_PREFERENCES.values(), ids=FRAMING_PREFERENCES)
@pytest.mark.parametrize(("data", "expected"), KEPT.values(), ids=KEPT)
async def test_the_upstream_receives_one_request(
    data: bytes, expected: bytes, preference: FramingPreference
) -> None:
    async with world(preference) as on:
        assert statuses(await last(on, data)) == [200, 200]
        assert on.received == [expected + forwarded(b"/last")]
        assert [request.target for request in on.upstream.requests][1:] == ["/last"]


REMAINDERS = {
    "after no framing": attack(body=HIDDEN),
    "after a length": attack(b"Content-Length: 3\r\n", body=b"abc" + HIDDEN),
    "after a length of 0": attack(b"Content-Length: 0\r\n", body=HIDDEN),
    "after the last chunk": attack(CODING, body=LAST + HIDDEN),
    "after trailers": attack(CODING, body=b"0\r\nA: 1\r\n\r\n" + HIDDEN),
    "after an upgrade that is not requested": attack(b"Upgrade: a\r\n", body=HIDDEN),
}


@pytest.mark.parametrize("preference", FRAMING_PREFERENCES.values(), ids=FRAMING_PREFERENCES)
@pytest.mark.parametrize("data", REMAINDERS.values(), ids=REMAINDERS)
async def test_a_hidden_request_is_checked_like_any_other(
    data: bytes, preference: FramingPreference
) -> None:
    """It has no routing field, so it is refused, and no upstream receives it."""
    async with world(preference) as on:
        responses = await last(on, data)
        assert statuses(responses) == [200, 400, 200]
        assert b"missing required header" in responses
        await on.other(b"/after")
        assert [request.target for request in on.upstream.requests] == ["/", "/last", "/after"]
        assert b"/hidden" not in b"".join(on.received)


@pytest.mark.parametrize("remainder", [b"\x00", b" ", b"0\r\n\r\n", b"X\r\n", b"X\n"])
async def test_a_remainder_does_not_change_another_request(remainder: bytes) -> None:
    async with world(FramingPreference()) as on:
        with await on.connect() as wire:
            await wire.send(on.routed(attack(b"Content-Length: 0\r\n", body=remainder)))
            reader = Reader(wire)
            assert (await soon(reader.response())).status == 200
            await on.other(b"/other")
            await wire.send(on.routed(plain_request(b"/own")))
            assert (await soon(reader.response())).status == 400
            assert await soon(reader.receive()) == b""
        assert on.received == [START + b"Content-Length: 0\r\n\r\n" + forwarded(b"/other")]


async def test_many_clients_on_one_pooled_connection_get_their_own_responses() -> None:
    async with world(FramingPreference()) as on:
        for number in range(20):
            await on.other(b"/%d" % number)
            assert statuses(await on.attack(attack(CODING, LENGTH))) == [400]
        assert on.received == [b"".join(forwarded(b"/%d" % number) for number in range(20))]


async def test_a_second_response_of_a_lax_upstream_is_not_forwarded() -> None:
    """It reads the body as a request; the second response belongs to no request."""
    async with world(FramingPreference(ignores_length=True)) as on:
        data = attack(b"Content-Length: %d\r\n" % len(HIDDEN), body=HIDDEN)
        with await on.connect() as wire:
            await wire.send(on.routed(data))
            response = await soon(Reader(wire).response("POST"))
            assert response.body == b"POST /"
            await soon(on.upstream.connections[0].is_closed.wait())
            assert wire.take_arrived() == b""
        await on.other(b"/after")
        assert on.received[1:] == [forwarded(b"/after")]


def test_the_lax_upstream_responds_in_one_line() -> None:
    assert text_response(b"GET /").endswith(b"\r\nContent-Length: 5\r\n\r\nGET /")
