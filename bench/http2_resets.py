"""Measures the CPU time that 20,000 streams of HTTP/2 cost which are reset at once.

    python -m bench.http2_resets --rounds 5

Starts a proxy, or takes a server that runs (`--port`, `--pid`), so that another proxy can be
measured the same way. Each round opens two connections, because 10,000 resets are the limit of one.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from bench.load.processes import free_port

_STREAMS_OF_A_CONNECTION = 10_000
_CONNECTIONS = 2
_MS_PER_TICK = 1000 / os.sysconf("SC_CLK_TCK")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_PING = bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + b"the last"
_ANSWER = bytes([0, 0, 8, 6, 1, 0, 0, 0, 0]) + b"the last"
_CANCEL = (8).to_bytes(4, "big")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.http2_resets")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", default="native", help="the proxy's")
    parser.add_argument("--port", type=int, help="of a server that speaks HTTP/2 in plain text")
    parser.add_argument("--pid", type=int, help="of that server")
    options = parser.parse_args(arguments)
    if options.port:
        _measure(options.port, options.pid, options.rounds)
        return
    port = free_port()
    command = ["-m", "cmux_proxy", "--listen", f"127.0.0.1:{port}", "--loop", options.loop]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *command], stdout=quiet, stderr=quiet)
    try:
        _measure(port, process.pid, options.rounds)
    finally:
        process.terminate()
        process.wait()


def _measure(port: int, pid: int, rounds: int) -> None:
    _connect(port).close()
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        attack = _attack(upstream.getsockname()[1])
        costs = []
        for _ in range(rounds):
            before = _cpu(pid)
            for _ in range(_CONNECTIONS):
                _send(port, attack)
            costs.append(_cpu(pid) - before)
    shown = ", ".join(f"{cost:.0f}" for cost in costs)
    print(f"CPU of 20,000 resets in ms: {shown}; median {statistics.median(costs):.0f}")


def _attack(upstream: int) -> bytes:
    """Return requests, each with its reset; all but the first consist of references."""
    fields = {"x-cmux-port-internal": str(upstream), "user-agent": "bench/1"}
    added = b"".join(_literal(name) + _literal(value)[1:] for name, value in fields.items())
    # GET, http, the path / and an authority are literals or entries of the static table.
    start = b"\x82\x86\x84" + b"\x41\x01a"
    parts = [_PREFACE, _SETTINGS]
    for stream_id in range(1, 2 * _STREAMS_OF_A_CONNECTION, 2):
        block = start + added if stream_id == 1 else b"\x82\x86\x84\xc0\xbf\xbe"
        number = stream_id.to_bytes(4, "big")
        parts.append(len(block).to_bytes(3, "big") + b"\x01\x05" + number + block)
        parts.append(b"\0\0\4\3\0" + number + _CANCEL)
    return b"".join([*parts, _PING])


def _literal(text: str) -> bytes:
    """Return a string as the name of a new entry of the table."""
    return b"\x40" + bytes([len(text)]) + text.encode("ascii")


def _send(port: int, attack: bytes) -> None:
    """Send everything, and wait until the server has acted on it."""
    with _connect(port) as sock:
        sock.sendall(attack)
        received = b""
        while _ANSWER not in received:
            data = sock.recv(65_536)
            if not data:
                raise SystemExit("the server has ended the connection")
            received = received[-len(_ANSWER) :] + data


def _connect(port: int) -> socket.socket:
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            time.sleep(0.05)


def _cpu(pid: int) -> float:
    """Return what a process has used, in milliseconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _MS_PER_TICK


if __name__ == "__main__":
    main()
