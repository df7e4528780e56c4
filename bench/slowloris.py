"""Measures how 500 clients that never finish a head slow other clients down: p99s and ratios.

    python -m bench.slowloris --rounds 9

Each slow client sends one byte of a head at intervals, gets a 408 at the timeout, and connects
again. Proxies, upstream, slow clients and measured clients are separate processes. Rounds
alternate: without slow clients, with slow clients at a second proxy (which shows their cost for the
machine), and with slow clients at the measured proxy.
"""

import argparse
import asyncio
import itertools
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.load.processes import free_port

_HEAD = "GET / HTTP/1.1\r\nHost: a\r\nX-Cmux-Port-Internal: {}\r\n\r\n"
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_SECONDS_PER_TICK = 1 / os.sysconf("SC_CLK_TCK")
_CLIENTS_MEASURED = 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _options(arguments)
    if options.role == "upstream":
        asyncio.run(_upstream(options.port))
    elif options.role == "slow":
        asyncio.run(_slow_clients(options.port, options.clients, options.every))
    else:
        _measure(options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.slowloris")
    parser.add_argument("--clients", type=int, default=500, help="how many slow clients")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two bytes")
    parser.add_argument("--head-timeout", type=float, default=2.0, help="the proxy's, in seconds")
    parser.add_argument("--requests", type=int, default=2000, help="measured in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", default="uvloop", choices=["uvloop", "asyncio"])
    parser.add_argument("--role", choices=["upstream", "slow"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _measure(options: argparse.Namespace) -> None:
    port, other, upstream = free_port(), free_port(), free_port()
    p99s: dict[str, list[float]] = {"alone": [], "elsewhere": [], "here": []}
    with ExitStack() as stack:
        upstream_process = stack.enter_context(
            _process("-m", __spec__.name, "--role", "upstream", "--port", str(upstream))
        )
        pid = stack.enter_context(_process(*_proxy(port, options))).pid
        stack.enter_context(_process(*_proxy(other, options)))
        for listening_port in (upstream, port, other):
            _await(upstream_process, listening_port)
        asyncio.run(_latencies(port, upstream, options.requests))
        for number in range(options.rounds):
            p99s["alone"].append(_round("alone", number, port, upstream, options.requests))
            for name, slow_port in (("elsewhere", other), ("here", port)):
                with _process("-m", __spec__.name, *_slow(slow_port, options)):
                    share = _share(pid, options.head_timeout + 1)
                    p99s[name].append(_round(name, number, port, upstream, options.requests))
                print(f"round {number + 1}, {name}: {100 * share:.1f} % of a CPU for slow clients")
    _print(options.clients, {name: statistics.median(times) for name, times in p99s.items()})


def _proxy(port: int, options: argparse.Namespace) -> list[str]:
    proxy = ["-m", "cmux_proxy", "--listen", f"127.0.0.1:{port}", "--loop", options.loop]
    return [*proxy, "--head-timeout", f"{options.head_timeout}s"]


def _slow(port: int, options: argparse.Namespace) -> list[str]:
    slow = ["--role", "slow", "--port", str(port)]
    return [*slow, "--clients", str(options.clients), "--every", str(options.every)]


def _print(clients: int, p99: dict[str, float]) -> None:
    print(f"p99 without slow clients {1e3 * p99['alone']:.2f} ms, with {clients} at another proxy "
          f"{1e3 * p99['elsewhere']:.2f} ms, at this one {1e3 * p99['here']:.2f} ms: "
          f"{p99['here'] / p99['alone']:.2f} times the first, "
          f"{p99['here'] / p99['elsewhere']:.2f} times the second")  # fmt: skip


def _round(name: str, number: int, port: int, upstream: int, requests: int) -> float:
    """Return the p99 of one round, in seconds."""
    times = sorted(asyncio.run(_latencies(port, upstream, requests)))
    p99 = times[int(len(times) * 0.99)]
    p50 = times[len(times) // 2]
    print(f"round {number + 1}, {name}: p50 {1e3 * p50:.2f} ms, p99 {1e3 * p99:.2f} ms")
    return p99


async def _latencies(port: int, upstream: int, requests: int) -> list[float]:
    remaining = itertools.repeat(None, requests)
    clients = (_send_requests(port, upstream, remaining) for _ in range(_CLIENTS_MEASURED))
    return list(itertools.chain(*await asyncio.gather(*clients)))


async def _send_requests(port: int, upstream: int, remaining: Iterator[None]) -> list[float]:
    """Send requests one after the other over one connection; return the seconds of each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = _HEAD.format(upstream).encode()
    times = []
    for _ in remaining:
        begun = time.perf_counter()
        writer.write(request)
        response = await reader.readexactly(len(_RESPONSE))
        times.append(time.perf_counter() - begun)
        if response != _RESPONSE:
            raise SystemExit(f"unexpected response: {response!r}")
    writer.close()
    return times


# The other processes


@contextmanager
def _process(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *arguments], stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _await(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Wait until a process listens on the port."""
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        try:
            asyncio.run(_connect(port))
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"no process listens on {port}")


async def _connect(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


def _share(pid: int, seconds: float) -> float:
    """Return the share of a CPU that a process uses."""
    before = _cpu(pid)
    time.sleep(seconds)
    return (_cpu(pid) - before) / seconds


def _cpu(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _SECONDS_PER_TICK


async def _upstream(port: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(_RESPONSE)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


async def _slow_clients(port: int, count: int, every: float) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(_slow_client(port, every))


async def _slow_client(port: int, every: float) -> None:
    head = _HEAD.format(1).encode()[:-4] + b"\r\nX-Slow: " + b"x" * 10_000
    await asyncio.sleep(random.random() * every)
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        response = asyncio.get_running_loop().create_task(reader.read())
        for index in range(len(head)):
            writer.write(head[index : index + 1])
            done, _ = await asyncio.wait([response], timeout=every)
            if done:
                break
        writer.close()
        await asyncio.wait([response])
        response.exception()


if __name__ == "__main__":
    main()
