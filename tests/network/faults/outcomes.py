"""What a client whose service fails does, and what it must receive."""

from collections.abc import Awaitable, Callable
from typing import Final

from tests.helpers.messages import Reader
from tests.helpers.timing import soon
from tests.helpers.wire import closed_port
from tests.network.faults.content import (
    expect_response,
    half_chunked,
    long_response,
    long_upload,
    mark_of,
    upload,
    usual_response,
)
from tests.network.faults.harness import Harness
from tests.network.mixed_load.wires import send, while_sending

Client = Callable[[Harness, Reader, str], Awaitable[None]]

# More bytes than the kernel buffers between client, proxy and service.
_TOO_MUCH: Final = 48 * 1024 * 1024


async def expect_error(reader: Reader, status: int, error: str) -> None:
    """Fail unless the next response is this error of the proxy."""
    response = await reader.response()
    proxy_status = response.field("proxy-status")
    assert (response.status, proxy_status) == (status, f"cmux-proxy; error={error}")


def gets_error(status: int, error: str) -> Client:
    """Get an error, and reuse the connection."""

    async def client(on: Harness, reader: Reader, path: str) -> None:
        await reader.wire.send(on.request(f"GET {path}"))
        await expect_error(reader, status, error)
        await on.exchange(reader)

    return client


async def gets_a_refusal(on: Harness, reader: Reader, path: str) -> None:
    """Send a request to a closed port, and reuse the connection."""
    with closed_port() as port:
        await reader.wire.send(on.request(f"GET {path}", port=port))
        await expect_error(reader, 502, "connection_refused")
    await on.exchange(reader)


async def is_cut(on: Harness, reader: Reader, path: str) -> None:
    """Get the beginning of the response, and then a cut."""
    await reader.wire.send(on.request(f"GET {path}"))
    got = await reader.receive()
    (await on.arrival(path)).client_noticed.set()
    got += await received(reader)
    responses = long_response(mark_of(path)), half_chunked(mark_of(path))
    assert any(response.startswith(got) for response in responses)
    assert len(got) < len(responses[0])


async def received(reader: Reader) -> bytes:
    """Return all bytes up to the end or a reset."""
    got = b""
    try:
        while data := await reader.receive():
            got += data
    except ConnectionError:
        pass
    return got


async def gets_response(on: Harness, reader: Reader, path: str) -> None:
    """Get the response, and reuse the connection."""
    await reader.wire.send(on.request(f"GET {path}"))
    expect_response(await reader.response(), usual_response(mark_of(path)))
    await on.exchange(reader)


async def gets_response_once(on: Harness, reader: Reader, path: str) -> None:
    """Send a request that must not be retried; get the response or a 502."""
    mark = mark_of(path)
    body = upload(mark)
    await reader.wire.send(on.request(f"POST {path}", f"Content-Length: {len(body)}") + body)
    response = await reader.response()
    if response.status == 502:
        assert response.field("proxy-status") == "cmux-proxy; error=connection_terminated"
    else:
        expect_response(response, usual_response(mark))
    assert on.request_counts[mark] == 1


async def outlives_connection(on: Harness, reader: Reader, path: str) -> None:
    """Get the response, and the next one after the service's connection has closed."""
    await reader.wire.send(on.request(f"GET {path}"))
    expect_response(await reader.response(), usual_response(mark_of(path)))
    arrival = await on.arrival(path)
    arrival.client_noticed.set()
    await soon(arrival.connection.is_closed.wait())
    await on.exchange(reader)


async def completes_upload(on: Harness, reader: Reader, path: str) -> None:
    """Get the response during the upload, complete the upload, and reuse the connection."""
    body = long_upload(mark_of(path))
    await reader.wire.send(on.request(f"POST {path}", f"Content-Length: {len(body)}") + body[:9999])
    expect_response(await reader.response(), usual_response(mark_of(path)))
    await reader.wire.send(body[9999:])
    await on.exchange(reader)


async def gets_an_early_response(on: Harness, reader: Reader, path: str) -> None:
    """Get the response during an upload that the service does not read."""
    body = long_upload(mark_of(path))
    request = on.request(f"POST {path}", "Transfer-Encoding: chunked")
    await reader.wire.send(request + b"%x\r\n" % len(body) + body[:9999])
    expect_response(await reader.response(), usual_response(mark_of(path)))


async def gets_a_write_timeout(on: Harness, reader: Reader, path: str) -> None:
    """Send a body that the service does not read, and get a 504."""
    request = on.request(f"POST {path}", f"Content-Length: {_TOO_MUCH}")
    try:
        sending = send(reader.wire, [request, bytes(_TOO_MUCH)])
        await while_sending(sending, expect_error(reader, 504, "connection_write_timeout"))
    finally:
        (await on.arrival(path)).client_noticed.set()
