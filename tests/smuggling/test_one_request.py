"""What is sent on of an attack is exactly the one request that was meant, through real sockets.

The upstream is lax, and what it got is compared byte for byte; whoever asks next, on the same
connection or on another, gets its own answer.
"""

import pytest

from tests.helpers.lenient import TASTES, Taste, told
from tests.helpers.messages import Reader
from tests.helpers.timing import soon
from tests.smuggling.attacks import CHUNKS, CODING, HIDDEN, LENGTH, POST, attack
from tests.smuggling.world import World, asking, forwarded, statuses, world

ROUTED = b"X-Cmux-Port-Internal: 1\r\n"
START = POST.replace(ROUTED, b"")
LAST = b"0\r\n\r\n"


async def last(on: World, data: bytes) -> bytes:
    """Send requests, the last of which says close; return all that comes."""
    close = asking(b"/last").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    return await on.attack(data + close)


CL_0 = {
    method: attack(LENGTH).replace(b"POST", method.encode(), 1)
    for method in ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "POST", "get", "X")
}


@pytest.mark.parametrize("taste", TASTES.values(), ids=TASTES)
@pytest.mark.parametrize("data", CL_0.values(), ids=CL_0)
async def test_a_body_stays_a_body_whatever_the_method(data: bytes, taste: Taste) -> None:
    async with world(taste) as on:
        assert statuses(await last(on, data)) == [200, 200]
        # Behind HEAD the second request has a connection of its own.
        assert b"".join(on.received) == data.replace(ROUTED, b"") + forwarded(b"/last")
        assert [asked.target for asked in on.upstream.asked] == ["/", "/last"]
        assert on.upstream.asked[0].body == CHUNKS


# What the client sends, and what the upstream gets of it.
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
        asking(b"http://b/x?y").replace(b"\r\n\r\n", b"\r\nX-Forwarded-Host: c\r\n\r\n"),
        b"GET /x?y HTTP/1.1\r\nHost: b\r\nX-Forwarded-Host: c\r\n\r\n",
    ),
    "encoded line end": (asking(b"/%0d%0aX:%201"), forwarded(b"/%0d%0aX:%201")),
    "encoded dots and slashes": (asking(b"/..%2f%5c../a"), forwarded(b"/..%2f%5c../a")),
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
    "empty lines first": (b"\r\n\r\n" + asking(b"/"), forwarded(b"/")),
}


@pytest.mark.parametrize("taste", TASTES.values(), ids=TASTES)
@pytest.mark.parametrize(("data", "expected"), KEPT.values(), ids=KEPT)
async def test_an_upstream_gets_the_one_request_that_was_meant(
    data: bytes, expected: bytes, taste: Taste
) -> None:
    async with world(taste) as on:
        assert statuses(await last(on, data)) == [200, 200]
        assert on.received == [expected + forwarded(b"/last")]
        assert [asked.target for asked in on.upstream.asked][1:] == ["/last"]


REMAINDERS = {
    "behind no framing": attack(body=HIDDEN),
    "behind a length": attack(b"Content-Length: 3\r\n", body=b"abc" + HIDDEN),
    "behind a length of 0": attack(b"Content-Length: 0\r\n", body=HIDDEN),
    "behind the last chunk": attack(CODING, body=LAST + HIDDEN),
    "behind trailers": attack(CODING, body=b"0\r\nA: 1\r\n\r\n" + HIDDEN),
    "behind an upgrade that is not asked for": attack(b"Upgrade: a\r\n", body=HIDDEN),
}


@pytest.mark.parametrize("taste", TASTES.values(), ids=TASTES)
@pytest.mark.parametrize("data", REMAINDERS.values(), ids=REMAINDERS)
async def test_a_hidden_request_is_judged_like_any_other(data: bytes, taste: Taste) -> None:
    """It has no routing field, so it is told so, and never seen by an upstream."""
    async with world(taste) as on:
        answer = await last(on, data)
        assert statuses(answer) == [200, 400, 200]
        assert b"missing required header" in answer
        await on.other(b"/after")
        assert [asked.target for asked in on.upstream.asked] == ["/", "/last", "/after"]
        assert b"/hidden" not in b"".join(on.received)


@pytest.mark.parametrize("rest", [b"\x00", b" ", b"0\r\n\r\n", b"X\r\n", b"X\n"])
async def test_a_remainder_poisons_nobody_s_request(rest: bytes) -> None:
    async with world(Taste()) as on:
        with await on.connect() as wire:
            await wire.send(on.routed(attack(b"Content-Length: 0\r\n", body=rest)))
            reader = Reader(wire)
            assert (await soon(reader.response())).status == 200
            await on.other(b"/other")
            await wire.send(on.routed(asking(b"/own")))
            assert (await soon(reader.response())).status == 400
            assert await soon(reader.piece()) == b""
        assert on.received == [START + b"Content-Length: 0\r\n\r\n" + forwarded(b"/other")]


async def test_each_of_many_clients_on_one_pooled_connection_gets_its_own_answer() -> None:
    async with world(Taste()) as on:
        for number in range(20):
            await on.other(b"/%d" % number)
            assert statuses(await on.attack(attack(CODING, LENGTH))) == [400]
        assert on.received == [b"".join(forwarded(b"/%d" % number) for number in range(20))]


async def test_what_a_lax_upstream_answers_twice_is_told_once() -> None:
    """It takes the body for a request of its own; the second answer is nobody's."""
    async with world(Taste(ignores_length=True)) as on:
        data = attack(b"Content-Length: %d\r\n" % len(HIDDEN), body=HIDDEN)
        with await on.connect() as wire:
            await wire.send(on.routed(data))
            answer = await soon(Reader(wire).response("POST"))
            assert answer.body == b"POST /"
            await soon(on.upstream.visits[0].is_over.wait())
            assert wire.take_arrived() == b""
        await on.other(b"/after")
        assert on.received[1:] == [forwarded(b"/after")]


def test_the_lax_upstream_answers_in_one_line() -> None:
    assert told(b"GET /").endswith(b"\r\nContent-Length: 5\r\n\r\nGET /")
