"""What a client receives from each behaviour of an upstream (tests/helpers/origins.py)."""

import asyncio

import pytest

from tests.helpers.messages import Reader
from tests.helpers.origins import (
    Behaviour,
    chunk,
    chunked,
    close_early,
    early_response,
    echo,
    fixed_length,
    http_response,
    interim,
    malformed,
    origin,
    reset,
    responding,
    response_without_reading,
    silent,
    slow,
    until_close,
    upgrading,
)
from tests.helpers.script import head, stage
from tests.helpers.timing import later
from tests.helpers.wire import Wire

BODY = bytes(range(256)) * 8

GOOD: dict[str, Behaviour] = {
    "length": fixed_length(BODY),
    "chunked": chunked([BODY[:1], BODY[1:700], BODY[700:]], "Sum: 1"),
    "until close": until_close([BODY[:10], BODY[10:]]),
    "slow, length": slow(http_response(BODY)),
    "slow, chunked": slow(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%b\r\n0\r\n\r\n"
        % (len(BODY), BODY)
    ),
    "early response": early_response(http_response(BODY)),
    "response without reading": response_without_reading(http_response(BODY, "Connection: close")),
    "interim": interim(
        [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"] * 3, http_response(BODY)
    ),
    "echo": responding(
        lambda request: http_response(BODY) if request.method == "GET" else echo(request)
    ),
}

BROKEN: dict[str, tuple[Behaviour, int]] = {
    "early close": (close_early, 502),
    "reset": (reset, 502),
    "garbage": (malformed(b"\x00\x01\x02 nothing of the kind\r\n\r\n"), 502),
    "empty lines": (malformed(b"\r\n\r\n"), 502),
    "half a head": (malformed(b"HTTP/1.1 200 OK\r\nA: "), 502),
    "no upgrade": (upgrading, 426),
}

SHORT: dict[str, Behaviour] = {
    "length": malformed(http_response(BODY)[:-1]),
    "no body": malformed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"),
    "chunked": malformed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"),
}


def get_root(port: int, version: str = "1.1") -> bytes:
    """Return a request for an upstream."""
    return head(f"GET / HTTP/{version}", "Host: a", f"X-Cmux-Port-Internal: {port}")


@pytest.mark.parametrize("behaviour", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_a_response_is_delivered_repeatedly(version: str, behaviour: Behaviour) -> None:
    async with origin(behaviour) as upstream, stage() as on:
        for _ in range(3):
            with await Wire.to(on.address.host, on.address.port) as wire:
                reader = Reader(wire)
                for _ in range(2 if version == "1.1" else 1):
                    await wire.send(get_root(upstream.port, version))
                    response = await later(reader.response())
                    assert (response.status, response.body) == (200, BODY)
        sent = head("GET / HTTP/1.1", "Host: a")
        assert all(
            connection.received == sent * len(connection.requests)
            for connection in upstream.connections
        )
        assert len(upstream.requests) == (6 if version == "1.1" else 3)


@pytest.mark.parametrize(("behaviour", "status"), BROKEN.values(), ids=BROKEN)
async def test_a_missing_or_malformed_response_is_an_error(
    behaviour: Behaviour, status: int
) -> None:
    async with origin(behaviour) as upstream, stage() as on:
        with await Wire.to(on.address.host, on.address.port) as wire:
            reader = Reader(wire)
            for _ in range(2):
                await wire.send(get_root(upstream.port))
                response = await later(reader.response())
                assert response.status == status
        assert len(upstream.requests) == 2


@pytest.mark.parametrize("behaviour", SHORT.values(), ids=SHORT)
async def test_an_incomplete_response_looks_incomplete(behaviour: Behaviour) -> None:
    async with origin(behaviour) as upstream, stage() as on:
        with await Wire.to(on.address.host, on.address.port) as wire:
            await wire.send(get_root(upstream.port))
            with pytest.raises((EOFError, ConnectionResetError)):
                await later(Reader(wire).response())
        assert len(upstream.requests) == 1


async def test_a_client_that_disconnects_closes_the_connection_of_a_silent_upstream() -> None:
    async with origin(silent) as upstream, stage() as on:
        with await Wire.to(on.address.host, on.address.port) as wire:
            await wire.send(get_root(upstream.port))
            connection = await upstream.first_connection()
        await later(connection.is_closed.wait())


@pytest.mark.parametrize("size", [1_000, 5_000_000])
async def test_a_response_before_the_body_is_delivered(size: int) -> None:
    large = http_response(b"too large", "Connection: close", status="413 Content Too Large")
    async with origin(early_response(large)) as upstream, stage() as on:
        with await Wire.to(on.address.host, on.address.port) as wire:
            route = f"X-Cmux-Port-Internal: {upstream.port}"
            await wire.send(head("POST / HTTP/1.1", "Host: a", route, f"Content-Length: {size}"))
            response = await later(Reader(wire).response())
            assert (response.status, response.body) == (413, b"too large")
            # The proxy reads the body, so that no reset destroys bytes that were not read yet.
            await later(wire.send(bytes(size)))
            wire.end()
            assert await later(wire.receive()) == b""


@pytest.mark.parametrize("framing", ["Content-Length: 5000000", "Transfer-Encoding: chunked"])
async def test_a_response_of_an_upstream_that_closes_within_the_body_is_delivered(
    framing: str,
) -> None:
    large = http_response(b"too large", "Connection: close", status="413 Content Too Large")
    async with origin(response_without_reading(large)) as upstream, stage() as on:
        for _ in range(5):
            with await Wire.to(on.address.host, on.address.port) as wire:
                route = f"X-Cmux-Port-Internal: {upstream.port}"
                await wire.send(head("POST / HTTP/1.1", "Host: a", route, framing))
                data = chunk(bytes(10_000)) if "chunked" in framing else bytes(10_000)
                sending = asyncio.get_running_loop().create_task(wire.send(data * 500))
                response = await later(Reader(wire).response())
                assert (response.status, response.body) == (413, b"too large")
                await later(sending)
