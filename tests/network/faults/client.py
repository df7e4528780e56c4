"""What clients do to the proxy: leave at each stage of an exchange, or send and read badly."""

import asyncio
from typing import Final

from tests.helpers.messages import Reader
from tests.helpers.script import ESTABLISHED
from tests.helpers.timing import MS
from tests.helpers.wire import deaf_port
from tests.network.faults.content import is_this, mark_of, upload, usual_answer
from tests.network.faults.ground import Ground
from tests.network.faults.outcomes import Client, is_told, received
from tests.network.mixed_load.wires import send, while_sending

# Often enough for any deadline of a test, seldom enough to be a trickle.
_PAUSE: Final = 50 * MS
_UPGRADE: Final = ("Connection: upgrade", "Upgrade: websocket")


def leaving(stage: Client, how: str) -> Client:
    """Come to a stage and leave, by reset or by close."""

    async def client(on: Ground, reader: Reader, path: str) -> None:
        await stage(on, reader, path)
        if how == "reset":
            reader.wire.reset()
        else:
            reader.wire.close()

    return client


# Stages


async def connected(on: Ground, reader: Reader, path: str) -> None:
    """Say nothing."""


async def amid_a_head(on: Ground, reader: Reader, path: str) -> None:
    """Send half a head."""
    await reader.wire.send(on.request(f"GET {path}")[:40])


async def dialling(on: Ground, reader: Reader, path: str) -> None:
    """Ask where nobody answers the connection attempt."""
    async with deaf_port() as port:
        await reader.wire.send(on.request(f"GET {path}", port=port))
        # The proxy has read the request when it has served another one.
        await on.serves()


async def waiting(on: Ground, reader: Reader, path: str) -> None:
    """Ask, and have the service be asked."""
    await reader.wire.send(on.request(f"GET {path}"))
    await on.struck(path)


async def amid_a_body(on: Ground, reader: Reader, path: str) -> None:
    """Send half a body."""
    await reader.wire.send(on.request(f"POST {path}", "Content-Length: 200000") + bytes(100_000))
    await on.struck(path)


async def amid_chunks(on: Ground, reader: Reader, path: str) -> None:
    """Send a body without its end."""
    request = on.request(f"POST {path}", "Transfer-Encoding: chunked")
    await reader.wire.send(request + b"5\r\nabcde\r\n")
    await on.struck(path)


async def amid_an_answer(on: Ground, reader: Reader, path: str) -> None:
    """Read the beginning of an answer."""
    await reader.wire.send(on.request(f"GET {path}"))
    await reader.head()


async def with_more_asked(on: Ground, reader: Reader, path: str) -> None:
    """Have more requests wait behind one that waits for its answer; a service fails at them."""
    await reader.wire.send(on.request(f"GET {path}") + on.request("GET /usual/never") * 20)
    await on.struck(path)


async def in_connect(on: Ground, reader: Reader, path: str) -> None:
    """Talk through a CONNECT tunnel."""
    await reader.wire.send(on.request("CONNECT a:1") + on.request(f"GET {path}"))
    assert await reader.take(len(ESTABLISHED)) == ESTABLISHED
    await _talk(reader, path)


async def in_upgrade(on: Ground, reader: Reader, path: str) -> None:
    """Talk through an upgraded connection."""
    await reader.wire.send(on.request(f"GET {path}", *_UPGRADE))
    await reader.head()
    await _talk(reader, path)


async def _talk(reader: Reader, path: str) -> None:
    await reader.wire.send(path.encode())
    assert await reader.take(len(path)) == path.encode()


STAGES: Final[dict[str, Client]] = {
    "connected": connected,
    "amid a head": amid_a_head,
    "dialling": dialling,
    "waiting": waiting,
    "with more asked": with_more_asked,
    "amid a body": amid_a_body,
    "amid chunks": amid_chunks,
    "amid an answer": amid_an_answer,
    "in CONNECT": in_connect,
    "in an upgrade": in_upgrade,
}

# Bad senders and readers


async def half_closes(on: Ground, reader: Reader, path: str) -> None:
    """Send the end behind a request, and get the answer all the same."""
    await reader.wire.send(on.request(f"GET {path}"))
    reader.wire.end()
    is_this(await reader.response(), usual_answer(mark_of(path)))
    assert await reader.piece() == b""


async def trickles_a_head(on: Ground, reader: Reader, path: str) -> None:
    """Send a head byte by byte for longer than it may take."""
    head = on.request(f"GET {path}", f"Padding: {'x' * 10_000}")
    sending = asyncio.get_running_loop().create_task(_trickle(reader, head))
    try:
        await is_told(reader, 408, "http_request_error")
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def trickles_a_body(on: Ground, reader: Reader, path: str) -> None:
    """Send a body byte by byte, past its deadline if bytes did not count; be answered."""
    body = upload(mark_of(path))
    request = on.request(f"POST {path}", f"Content-Length: {len(body)}")
    slow, rest = body[:30], body[30:]
    await reader.wire.send(request)
    await _trickle(reader, slow)
    await reader.wire.send(rest)
    is_this(await reader.response(), usual_answer(mark_of(path)))
    await on.ask(reader)


async def _trickle(reader: Reader, data: bytes) -> None:
    for at in range(len(data)):
        await reader.wire.send(data[at : at + 1])
        await asyncio.sleep(_PAUSE)


async def stops_amid_a_body(on: Ground, reader: Reader, path: str) -> None:
    """Send half a body, nothing more, and be told."""
    await reader.wire.send(on.request(f"POST {path}", "Content-Length: 9") + b"half")
    await is_told(reader, 408, "http_request_error")


async def never_reads(on: Ground, reader: Reader, path: str) -> None:
    """Ask for an answer without an end and read nothing of it; be dropped."""
    await reader.wire.send(on.request(f"GET {path}"))
    await (await on.struck(path)).visit.is_over.wait()
    await received(reader)


async def sends_garbage(on: Ground, reader: Reader, path: str) -> None:
    """Begin as TLS does."""
    await reader.wire.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300))
    await is_told(reader, 400, "http_request_error")
    assert await reader.piece() == b""


async def sends_a_bad_chunk(on: Ground, reader: Reader, path: str) -> None:
    """Send what is no chunk, amid a body, and be told."""
    await reader.wire.send(
        on.request(f"POST {path}", "Transfer-Encoding: chunked") + b"2\r\nab\r\n"
    )
    await on.struck(path)
    await reader.wire.send(b"zz\r\n")
    await is_told(reader, 400, "http_request_error")
    assert await reader.piece() == b""


async def sends_on_though_refused(on: Ground, reader: Reader, path: str) -> None:
    """Send a long body to nobody, and be told all the same."""
    request = on.request(f"POST {path}", "Content-Length: 3000000", port=on.proxy_port)
    sending = send(reader.wire, [request, bytes(3_000_000)])
    await while_sending(sending, is_told(reader, 508, "proxy_loop_detected"))
