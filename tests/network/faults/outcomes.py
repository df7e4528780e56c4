"""What a client that meets a fault of its service does, and what it has to get."""

from collections.abc import Awaitable, Callable
from typing import Final

from tests.helpers.messages import Reader
from tests.helpers.timing import soon
from tests.helpers.wire import closed_port
from tests.network.faults.content import (
    half_chunked,
    is_this,
    long_answer,
    long_upload,
    mark_of,
    upload,
    usual_answer,
)
from tests.network.faults.ground import Ground
from tests.network.mixed_load.wires import send, while_sending

Client = Callable[[Ground, Reader, str], Awaitable[None]]

# More than the kernel holds between client, proxy and service.
_TOO_MUCH: Final = 48 * 1024 * 1024


async def is_told(reader: Reader, status: int, error: str) -> None:
    """Fail unless the proxy answers that."""
    got = await reader.response()
    assert (got.status, got.field("proxy-status")) == (status, f"cmux-proxy; error={error}")


def gets_error(status: int, error: str) -> Client:
    """Be told, and go on with the same connection."""

    async def client(on: Ground, reader: Reader, path: str) -> None:
        await reader.wire.send(on.request(f"GET {path}"))
        await is_told(reader, status, error)
        await on.ask(reader)

    return client


async def is_refused(on: Ground, reader: Reader, path: str) -> None:
    """Ask where nobody listens, and go on with the same connection."""
    with closed_port() as port:
        await reader.wire.send(on.request(f"GET {path}", port=port))
        await is_told(reader, 502, "connection_refused")
    await on.ask(reader)


async def is_cut(on: Ground, reader: Reader, path: str) -> None:
    """Get the beginning of the own answer, and then no orderly end."""
    await reader.wire.send(on.request(f"GET {path}"))
    got = await reader.piece()
    (await on.struck(path)).is_told.set()
    got += await received(reader)
    wholes = long_answer(mark_of(path)), half_chunked(mark_of(path))
    assert any(whole.startswith(got) for whole in wholes)
    assert len(got) < len(wholes[0])


async def received(reader: Reader) -> bytes:
    """Return everything up to the end, whatever kind of end that is."""
    got = b""
    try:
        while piece := await reader.piece():
            got += piece
    except ConnectionError:
        pass
    return got


async def gets_answer(on: Ground, reader: Reader, path: str) -> None:
    """Notice nothing."""
    await reader.wire.send(on.request(f"GET {path}"))
    is_this(await reader.response(), usual_answer(mark_of(path)))
    await on.ask(reader)


async def gets_it_once(on: Ground, reader: Reader, path: str) -> None:
    """Ask for what must not be done twice; be answered or told that it may have been done."""
    mark = mark_of(path)
    body = upload(mark)
    await reader.wire.send(on.request(f"POST {path}", f"Content-Length: {len(body)}") + body)
    got = await reader.response()
    if got.status == 502:
        assert got.field("proxy-status") == "cmux-proxy; error=connection_terminated"
    else:
        is_this(got, usual_answer(mark))
    assert on.asked[mark] == 1


async def lets_it_speak(on: Ground, reader: Reader, path: str) -> None:
    """Get the own answer, and the next one once the service was hung up on."""
    await reader.wire.send(on.request(f"GET {path}"))
    is_this(await reader.response(), usual_answer(mark_of(path)))
    strike = await on.struck(path)
    strike.is_told.set()
    await soon(strike.visit.is_over.wait())
    await on.ask(reader)


async def sends_on(on: Ground, reader: Reader, path: str) -> None:
    """Be answered amid a request, send the rest of it, and go on."""
    body = long_upload(mark_of(path))
    await reader.wire.send(on.request(f"POST {path}", f"Content-Length: {len(body)}") + body[:9999])
    is_this(await reader.response(), usual_answer(mark_of(path)))
    await reader.wire.send(body[9999:])
    await on.ask(reader)


async def is_answered_and_closed(on: Ground, reader: Reader, path: str) -> None:
    """Be answered amid a request that nobody takes any more."""
    body = long_upload(mark_of(path))
    request = on.request(f"POST {path}", "Transfer-Encoding: chunked")
    await reader.wire.send(request + b"%x\r\n" % len(body) + body[:9999])
    is_this(await reader.response(), usual_answer(mark_of(path)))


async def is_not_read(on: Ground, reader: Reader, path: str) -> None:
    """Send a body that nobody takes, and be told."""
    request = on.request(f"POST {path}", f"Content-Length: {_TOO_MUCH}")
    try:
        sending = send(reader.wire, [request, bytes(_TOO_MUCH)])
        await while_sending(sending, is_told(reader, 504, "connection_write_timeout"))
    finally:
        (await on.struck(path)).is_told.set()
