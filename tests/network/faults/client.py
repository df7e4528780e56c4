"""What clients do: disconnect at each stage of an exchange, or send and read badly."""

import asyncio
from typing import Final

from tests.helpers.messages import Reader
from tests.helpers.script import ESTABLISHED
from tests.helpers.timing import MS
from tests.helpers.wire import deaf_port
from tests.network.faults.content import expect_response, mark_of, upload, usual_response
from tests.network.faults.harness import Harness
from tests.network.faults.outcomes import Client, expect_error, received
from tests.network.mixed_load.wires import send, while_sending

# Shorter than each deadline of a test, so that it is progress, and long enough to be slow.
_PAUSE: Final = 50 * MS
_UPGRADE: Final = ("Connection: upgrade", "Upgrade: websocket")


def leaving(stage: Client, how: str) -> Client:
    """Reach a stage and disconnect, by reset or by close."""

    async def client(on: Harness, reader: Reader, path: str) -> None:
        await stage(on, reader, path)
        if how == "reset":
            reader.wire.reset()
        else:
            reader.wire.close()

    return client


# Stages


async def connected(on: Harness, reader: Reader, path: str) -> None:
    """Send nothing."""


async def during_the_head(on: Harness, reader: Reader, path: str) -> None:
    """Send half a head."""
    await reader.wire.send(on.request(f"GET {path}")[:40])


async def dialling(on: Harness, reader: Reader, path: str) -> None:
    """Send a request to a port that completes no connection attempt."""
    async with deaf_port() as port:
        await reader.wire.send(on.request(f"GET {path}", port=port))
        # The proxy has read this request when it has served another one.
        await on.serves()


async def waiting(on: Harness, reader: Reader, path: str) -> None:
    """Send a request, and wait until it has reached the service."""
    await reader.wire.send(on.request(f"GET {path}"))
    await on.arrival(path)


async def during_the_body(on: Harness, reader: Reader, path: str) -> None:
    """Send half a body."""
    await reader.wire.send(on.request(f"POST {path}", "Content-Length: 200000") + bytes(100_000))
    await on.arrival(path)


async def during_chunks(on: Harness, reader: Reader, path: str) -> None:
    """Send a body without its end."""
    request = on.request(f"POST {path}", "Transfer-Encoding: chunked")
    await reader.wire.send(request + b"5\r\nabcde\r\n")
    await on.arrival(path)


async def during_the_response(on: Harness, reader: Reader, path: str) -> None:
    """Read the head of a response."""
    await reader.wire.send(on.request(f"GET {path}"))
    await reader.head()


async def with_pipelined_requests(on: Harness, reader: Reader, path: str) -> None:
    """Pipeline requests behind one that waits for its response; they must not be forwarded."""
    await reader.wire.send(on.request(f"GET {path}") + on.request("GET /usual/never") * 20)
    await on.arrival(path)


async def in_connect(on: Harness, reader: Reader, path: str) -> None:
    """Exchange bytes in a CONNECT tunnel."""
    await reader.wire.send(on.request("CONNECT a:1") + on.request(f"GET {path}"))
    assert await reader.take(len(ESTABLISHED)) == ESTABLISHED
    await _echo_path(reader, path)


async def in_upgrade(on: Harness, reader: Reader, path: str) -> None:
    """Exchange bytes in an upgraded connection."""
    await reader.wire.send(on.request(f"GET {path}", *_UPGRADE))
    await reader.head()
    await _echo_path(reader, path)


async def _echo_path(reader: Reader, path: str) -> None:
    await reader.wire.send(path.encode())
    assert await reader.take(len(path)) == path.encode()


STAGES: Final[dict[str, Client]] = {
    "connected": connected,
    "within the head": during_the_head,
    "dialling": dialling,
    "waiting": waiting,
    "with pipelined requests": with_pipelined_requests,
    "within the body": during_the_body,
    "within chunks": during_chunks,
    "within the response": during_the_response,
    "in CONNECT": in_connect,
    "in an upgrade": in_upgrade,
}

# Clients that send or read badly


async def half_closes(on: Harness, reader: Reader, path: str) -> None:
    """Half-close after a request, and get the response."""
    await reader.wire.send(on.request(f"GET {path}"))
    reader.wire.end()
    expect_response(await reader.response(), usual_response(mark_of(path)))
    assert await reader.receive() == b""


async def sends_the_head_slowly(on: Harness, reader: Reader, path: str) -> None:
    """Send a head byte by byte for longer than the timeout."""
    head = on.request(f"GET {path}", f"Padding: {'x' * 10_000}")
    sending = asyncio.get_running_loop().create_task(_send_slowly(reader, head))
    try:
        await expect_error(reader, 408, "http_request_error")
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def sends_the_body_slowly(on: Harness, reader: Reader, path: str) -> None:
    """Send a body byte by byte for longer than the timeout, which each byte restarts."""
    body = upload(mark_of(path))
    request = on.request(f"POST {path}", f"Content-Length: {len(body)}")
    slow, fast = body[:30], body[30:]
    await reader.wire.send(request)
    await _send_slowly(reader, slow)
    await reader.wire.send(fast)
    expect_response(await reader.response(), usual_response(mark_of(path)))
    await on.exchange(reader)


async def _send_slowly(reader: Reader, data: bytes) -> None:
    for at in range(len(data)):
        await reader.wire.send(data[at : at + 1])
        await asyncio.sleep(_PAUSE)


async def stops_during_the_body(on: Harness, reader: Reader, path: str) -> None:
    """Send half a body and stop; get a 408."""
    await reader.wire.send(on.request(f"POST {path}", "Content-Length: 9") + b"half")
    await expect_error(reader, 408, "http_request_error")


async def never_reads(on: Harness, reader: Reader, path: str) -> None:
    """Request an endless response and read nothing of it; the proxy must drop it."""
    await reader.wire.send(on.request(f"GET {path}"))
    await (await on.arrival(path)).connection.is_closed.wait()
    await received(reader)


async def sends_garbage(on: Harness, reader: Reader, path: str) -> None:
    """Send the handshake of another protocol."""
    await reader.wire.send(b"\x00\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300))
    await expect_error(reader, 400, "http_request_error")
    assert await reader.receive() == b""


async def sends_a_bad_chunk(on: Harness, reader: Reader, path: str) -> None:
    """Send bytes that are no chunk within a body; get a 400."""
    await reader.wire.send(
        on.request(f"POST {path}", "Transfer-Encoding: chunked") + b"2\r\nab\r\n"
    )
    await on.arrival(path)
    await reader.wire.send(b"zz\r\n")
    await expect_error(reader, 400, "http_request_error")
    assert await reader.receive() == b""


async def uploads_although_refused(on: Harness, reader: Reader, path: str) -> None:
    """Send a long body to a refused target; get the error."""
    request = on.request(f"POST {path}", "Content-Length: 3000000", port=on.proxy_port)
    sending = send(reader.wire, [request, bytes(3_000_000)])
    await while_sending(sending, expect_error(reader, 508, "proxy_loop_detected"))
