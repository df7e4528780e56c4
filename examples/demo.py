"""Three small services, the proxy in front of them, and one request of each type.

A plain request, a WebSocket and a CONNECT tunnel all use the address of the proxy, and
X-Cmux-Port-Internal names the port of each. The clients write their bytes themselves, so that
nothing is hidden. With --keep the services and the proxy continue to run.
"""

import argparse
import asyncio
import base64
import hashlib
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from cmux_proxy import Address, Config, Proxy

FIELD = "X-Cmux-Port-Internal"
PAGE = b"<!doctype html><title>demo</title><h1>A small web page</h1>\n"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the sample nonce of RFC 6455 section 1.3
TEXT, CLOSE = 0x81, 0x88  # the first byte of an unfragmented text frame and of a close frame

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Service = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Client = Callable[[Streams, int], Awaitable[tuple[str, str]]]


# The services.


async def web_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond to every request with the page."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(PAGE)}\r\n\r\n"
    while await read_head(reader):
        writer.write(head.encode() + PAGE)
        await writer.drain()


async def websocket_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept a WebSocket and send each message back."""
    fields = field_values(await read_head(reader))
    if "sec-websocket-key" not in fields:
        writer.write(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n")
        writer.write(b"Connection: upgrade, close\r\nContent-Length: 0\r\n\r\n")
        return
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept_value(fields["sec-websocket-key"]) + b"\r\n\r\n"
    )
    while True:
        opcode, message = await read_frame(reader)
        writer.write(frame(opcode, message))
        if opcode == CLOSE:
            return


async def tcp_echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send every byte back."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def serve(stack: AsyncExitStack, service: Service) -> int:
    """Start a service on a free port of the loopback and return the port."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await service(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the client has left, or the demo ends
        finally:
            writer.close()

    server = await stack.enter_async_context(await asyncio.start_server(guarded, "127.0.0.1", 0))
    stack.callback(server.close)
    port: int = server.sockets[0].getsockname()[1]
    return port


# What both sides need of HTTP and of WebSocket framing (RFC 6455 section 5.2, up to 125 bytes).


async def read_head(reader: asyncio.StreamReader) -> list[str]:
    """Return the lines of a head, or none at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return []
    return head.decode("latin-1").split("\r\n")[:-2]


def field_values(head: list[str]) -> dict[str, str]:
    """Return the fields of a head by lower-case name."""
    pairs = (line.partition(":") for line in head[1:])
    return {name.lower(): value.strip() for name, _, value in pairs}


def accept_value(key: str) -> bytes:
    """Return the server's proof of the handshake (RFC 6455 section 4.2.2)."""
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest)


def frame(opcode: int, message: bytes) -> bytes:
    """Return an unmasked frame, as a server sends it."""
    return bytes([opcode, len(message)]) + message


def masked_frame(opcode: int, message: bytes) -> bytes:
    """Return a masked frame, as a client sends it."""
    mask = os.urandom(4)
    return bytes([opcode, 0x80 | len(message)]) + mask + unmask(mask, message)


def unmask(mask: bytes, message: bytes) -> bytes:
    """Apply a mask, or remove it."""
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(message))


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the first byte and the message of the next frame."""
    opcode, length = await reader.readexactly(2)
    mask = await reader.readexactly(4) if length & 0x80 else bytes(4)
    return opcode, unmask(mask, await reader.readexactly(length & 0x7F))


# The requests. Each returns what it has sent and received.


async def plain_request(client: Streams, port: int) -> tuple[str, str]:
    """Get the page."""
    reader, writer = client
    request = f"GET / HTTP/1.1\r\nHost: localhost\r\n{FIELD}: {port}\r\n\r\n"
    writer.write(request.encode())
    head = await read_head(reader)
    body = await reader.readexactly(int(field_values(head)["content-length"]))
    return "GET / HTTP/1.1", f"{head[0]}, {body.decode().strip()}"


async def websocket(client: Streams, port: int) -> tuple[str, str]:
    """Shake hands, send one text message and close."""
    reader, writer = client
    writer.write(
        f"GET /echo HTTP/1.1\r\nHost: localhost\r\n{FIELD}: {port}\r\n"
        f"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n".encode()
    )
    head = await read_head(reader)
    if field_values(head).get("sec-websocket-accept", "").encode() != accept_value(KEY):
        return "GET /echo, upgrade", f"{head[0]}: no WebSocket was opened"
    writer.write(masked_frame(TEXT, b"hello, socket"))
    _, message = await read_frame(reader)
    writer.write(masked_frame(CLOSE, b"\x03\xe8"))
    await read_frame(reader)
    return 'GET /echo, upgrade, text "hello, socket"', f'{head[0]}, text "{message.decode()}"'


async def tunnel(client: Streams, port: int) -> tuple[str, str]:
    """Open a tunnel and send some bytes that are not HTTP."""
    reader, writer = client
    request = f"CONNECT demo:{port} HTTP/1.1\r\nHost: demo:{port}\r\n{FIELD}: {port}\r\n\r\n"
    writer.write(request.encode())
    head = await read_head(reader)
    sent = b"\x00any bytes\xff"
    writer.write(sent)
    return f"CONNECT demo:{port}, {sent!r}", f"{head[0]}, {await reader.readexactly(len(sent))!r}"


# The demo.

EXAMPLES: list[tuple[str, Service, Client]] = [
    ("web page", web_page, plain_request),
    ("WebSocket echo", websocket_echo, websocket),
    ("TCP echo", tcp_echo, tunnel),
]
TO_TRY = """
Try, and end with Ctrl-C:
  curl -H '{field}: {web}' http://{proxy}/
  curl -iN -H '{field}: {socket}' -H 'Connection: Upgrade' -H 'Upgrade: websocket' \\
    -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: {key}' http://{proxy}/
  echo hello | curl -sNm 2 -p -x http://{proxy} --proxy-header '{field}: {tcp}' telnet://demo:{tcp}
"""
BOLD, DIM, GREEN, CYAN = 1, 2, 32, 36


def paint(code: int, text: str) -> str:
    """Return the text in a colour if the output is a terminal with colours."""
    is_enabled = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{code}m{text}\x1b[0m" if sys.stdout.isatty() and is_enabled else text


async def show(name: str, client: Client, proxy: Address, port: int) -> None:
    """Send one request and print its route."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    async with asyncio.timeout(10):
        sent, received = await client((reader, writer), port)
    writer.close()
    route = f"client -> {paint(CYAN, str(proxy))} -> {paint(GREEN, f'127.0.0.1:{port}')}"
    print(f"\n{paint(BOLD, name)}  {route}  {paint(DIM, f'{FIELD}: {port}')}")
    print(f"  sent      {sent}\n  received  {received}")


async def main(keep: bool) -> None:
    """Start services and proxy, send one request of each type; with `keep`, keep running."""
    async with AsyncExitStack() as stack:
        ports = [await serve(stack, service) for _, service, _ in EXAMPLES]
        proxy = await stack.enter_async_context(Proxy(Config(listen=["127.0.0.1:0"])))
        address = proxy.addresses[0]
        print(f"{paint(BOLD, 'cmux-proxy')} listens on {paint(CYAN, str(address))}")
        for (name, _, client), port in zip(EXAMPLES, ports, strict=True):
            await show(name, client, address, port)
        if keep:
            names = dict(zip(("web", "socket", "tcp"), ports, strict=True))
            print(TO_TRY.format(proxy=address, field=FIELD, key=KEY, **names))
            await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--keep", action="store_true", help="keep running, and print commands to try"
    )
    try:
        asyncio.run(main(parser.parse_args().keep))
    except KeyboardInterrupt:
        pass
