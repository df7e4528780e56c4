"""What a service does with a request."""

from collections.abc import Callable

from tests.helpers.origins import chunk
from tests.network.faults.content import (
    half_chunked,
    long_response,
    long_upload,
    usual_response,
)
from tests.network.faults.harness import Arrival, Handler, responds


async def resets(arrival: Arrival) -> bool:
    """Reset the connection."""
    arrival.connection.wire.reset()
    return False


async def closes(arrival: Arrival) -> bool:
    """Close the connection."""
    return False


async def stalls(arrival: Arrival) -> bool:
    """Send nothing, and read until the end."""
    while await arrival.connection.receive():
        pass
    return False


async def half_closes(arrival: Arrival) -> bool:
    """Half-close, and read until the end."""
    arrival.connection.wire.end()
    return await stalls(arrival)


async def reads_nothing(arrival: Arrival) -> bool:
    """Neither send nor read anything until the client has noticed."""
    await arrival.client_noticed.wait()
    return False


async def reads_the_body(arrival: Arrival) -> bool:
    """Read a long body, and keep the connection."""
    await arrival.connection.body(arrival.request)
    assert arrival.request.body == long_upload(arrival.mark)
    return True


async def resets_while_idle(arrival: Arrival) -> bool:
    """Reset the connection after the client has read its response."""
    await arrival.client_noticed.wait()
    return await resets(arrival)


async def sends_while_idle(arrival: Arrival) -> bool:
    """Send a second response after the client has read its own; the proxy must close."""
    await arrival.client_noticed.wait()
    await arrival.connection.send(long_response("stolen"))
    assert await arrival.connection.head() is None
    return False


async def closes_when_reused(arrival: Arrival) -> bool:
    """Respond on a new connection; close a reused one."""
    return await responds(arrival) if len(arrival.connection.requests) == 1 else False


async def streams(arrival: Arrival) -> bool:
    """Send an endless response."""
    await arrival.connection.send(half_chunked(arrival.mark))
    while True:
        await arrival.connection.send(chunk(bytes(32768)))


async def echoes(arrival: Arrival) -> bool:
    """Be the far end of a tunnel: send back all bytes, and then the end."""
    if arrival.request.field("upgrade"):
        await arrival.connection.send(
            b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
    while data := await arrival.connection.receive():
        await arrival.connection.send(data)
    return False


async def ends_with_garbage(arrival: Arrival) -> bool:
    """Send bytes that are no chunk after the client has the beginning, and wait for the end."""
    await arrival.client_noticed.wait()
    await arrival.connection.send(b"zz\r\n")
    return await stalls(arrival)


def sending(data: Callable[[str], bytes], then: Handler) -> Handler:
    """Send bytes that depend on the mark, and then call the next handler."""

    async def handle(arrival: Arrival) -> bool:
        await arrival.connection.send(data(arrival.mark))
        return await then(arrival)

    return handle


def half_a_head(mark: str) -> bytes:
    """Return an incomplete head."""
    return long_response(mark)[:20]


def malformed(mark: str) -> bytes:
    """Return bytes that are no HTTP."""
    return b"\0\1\2 " + mark.encode() + b" nothing of the kind\r\n\r\n"


def two_responses(mark: str) -> bytes:
    """Return a response, and another one without a request."""
    return usual_response(mark) + long_response("stolen")
