"""Counts the instructions of a request, a connection, a message: python -m bench.instructions.

The time of a request differs by several percent from run to run, and its instructions hardly do, so
that they show a change of one percent. Each argument NAME=PYTHON is the interpreter of an
environment with cmux-proxy, such as those of two commits. valgrind counts what the process does in
user space, after a thousand requests that do not count.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from bench.load.machine import machine
from bench.load.processes import BenchError, free_port

REQUESTS: Final = 2560
_WARM_UP: Final = 1280
_START_TIMEOUT: Final = 60.0  # seconds
_RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Tue, 01 Dec 2026 12:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\nhello\n"
)
_BROWSER: Final = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: */*\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Referer: http://127.0.0.1:8080/\r\nSec-Fetch-Dest: script\r\nSec-Fetch-Mode: no-cors\r\n"
    "Sec-Fetch-Site: same-origin\r\nCookie: a=b; c=d\r\nConnection: keep-alive\r\n"
)
_MESSAGE: Final = b"x" * 64
_TUNNEL: Final = "CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n"


@dataclass(frozen=True)
class Case:
    """What is counted: requests with these lines over so many connections at once.

    Or each request has a connection of its own, or is a message there and back in a tunnel.
    """

    lines: str = ""
    connections: int = 1
    closes: bool = False
    is_tunnel: bool = False


CASES: Final = {
    "small-c1": Case(),
    "browser-c1": Case(_BROWSER),
    "small-c64": Case(connections=64),
    "browser-c64": Case(_BROWSER, connections=64),
    "close-c1": Case("Connection: close\r\n", closes=True),
    "tunnel-64b": Case(is_tunnel=True),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Count every case for every interpreter; return the exit status."""
    parser = argparse.ArgumentParser(prog="instructions", description=__doc__.partition("\n")[0])
    default = [f"this={sys.executable}"]
    parser.add_argument("builds", nargs="*", default=default, metavar="NAME=PYTHON")
    parser.add_argument("--flags", default="", help="more flags of the proxy, in one text")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write the counts there")
    options = parser.parse_args(arguments)
    try:
        counts = {
            name: count_cases(name, python, options.flags.split())
            for name, _, python in (build.rpartition("=") for build in options.builds)
        }
    except (BenchError, OSError) as error:
        sys.stderr.write(f"instructions: {error}\n")
        return 1
    if options.output:
        data = {"time": datetime.now(UTC).isoformat(), "machine": machine(), "flags": options.flags}
        data["instructions"] = counts
        options.output.write_text(json.dumps(data, indent=1) + "\n")
    return 0


def count_cases(build: str, python: str, flags: Sequence[str]) -> dict[str, int]:
    """Return the instructions of a request by case, and print them."""
    counts = {}
    for name, case in CASES.items():
        counts[name] = count(python, case, flags)
        sys.stdout.write(f"{name:12}{counts[name]:>8}  {build}\n")
        sys.stdout.flush()
    return counts


def count(python: str, case: Case, flags: Sequence[str] = ()) -> int:
    """Return the instructions of one request, or of one message and its echo."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        upstream = stack.enter_context(serving())
        port = free_port()
        output = Path(folder, "callgrind.out")
        process = stack.enter_context(counted_proxy(python, port, output, flags))
        ask = stack.enter_context(asking(case, upstream, partial(connect, port, process)))
        ask(_WARM_UP)
        control(process, "on")
        ask(REQUESTS)
        control(process, "off")
        process.terminate()
        process.wait()
        return total_of(output.read_text()) // REQUESTS


@contextmanager
def counted_proxy(
    python: str, port: int, output: Path, flags: Sequence[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the proxy of an environment below valgrind, which counts nothing yet."""
    command = [
        "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={output}",
        python, "-m", "cmux_proxy", "--listen", f"127.0.0.1:{port}", "--access-log", "off",
        *flags,
    ]  # fmt: skip
    env = {name: value for name, value in os.environ.items() if not name.startswith("CMUX_")}
    env.pop("PYTHONPATH", None)
    env["PYTHONHASHSEED"] = "0"
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, env=env, cwd="/", stdout=quiet, stderr=quiet) as process:
        try:
            yield process
        finally:
            process.kill()


def control(process: subprocess.Popen[bytes], switch: str) -> None:
    """Let valgrind count, or stop counting."""
    command = ["callgrind_control", "-i", switch, str(process.pid)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def total_of(output: str) -> int:
    """Return the sum in a file of callgrind; raise BenchError."""
    found = re.search(r"^totals: (\d+)$", output, re.MULTILINE)
    if found is None:
        raise BenchError("callgrind has written no total")
    return int(found[1])


def connect(port: int, process: subprocess.Popen[bytes]) -> socket.socket:
    """Connect to the proxy once it listens; raise BenchError."""
    deadline = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise BenchError("the proxy does not listen; is cmux-proxy in that environment?")


@contextmanager
def asking(
    case: Case, upstream: int, connected: Callable[[], socket.socket]
) -> Iterator[Callable[[int], None]]:
    """Return a function that sends so many requests of a case, or messages."""
    field = f"X-Cmux-Port-Internal: {upstream}\r\n"
    head = f"GET / HTTP/1.1\r\nHost: a\r\n{field}{case.lines}\r\n".encode()
    if case.closes:
        connected().close()  # waits until the proxy listens
        yield lambda requests: ask_once_each(connected, head, requests)
        return
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(connected())) for _ in range(case.connections)]
        message, end = head, b"hello\n"
        if case.is_tunnel:
            exchange(clients, f"{_TUNNEL}{field}\r\n".encode(), b"\r\n\r\n", 1)
            message = end = _MESSAGE
        yield partial(exchange, clients, message, end)


def exchange(clients: Sequence[socket.socket], message: bytes, end: bytes, times: int) -> None:
    """Send a message over all connections in turns, when all responses to the last have come."""
    for _ in range(times // len(clients) or 1):
        for client in clients:
            client.sendall(message)
        for client in clients:
            receive(client, end)


def receive(client: socket.socket, end: bytes) -> None:
    """Receive a response, of which only the end is known; raise BenchError for no response."""
    response = b""
    while not response.endswith(end):
        part = client.recv(65536)
        if not part:
            raise BenchError(f"the proxy responded {response!r}")
        response += part


def ask_once_each(connected: Callable[[], socket.socket], head: bytes, requests: int) -> None:
    """Send each request over a connection of its own, and read to its end."""
    for _ in range(requests):
        with connected() as client:
            client.sendall(head)
            receive(client, b"hello\n")
            if client.recv(1):
                raise BenchError("the proxy does not end the connection with its response")


@contextmanager
def serving() -> Iterator[int]:
    """Respond to each head, and echo messages, on a port of the loopback."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        threading.Thread(target=accept_all, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]


def accept_all(listener: socket.socket) -> None:
    """Serve each connection in a thread of its own."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=respond, args=(connection,), daemon=True).start()


def respond(connection: socket.socket) -> None:
    """Respond to each head, and echo what is none; each comes in one piece, without a body."""
    with connection:
        try:
            while data := connection.recv(65536):
                connection.sendall(_RESPONSE if data.startswith(b"GET ") else data)
        except OSError:
            return


if __name__ == "__main__":
    sys.exit(main())
