"""What each harness begins with: the cases of tests/corpus, and some values."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.helpers.cases import read_cases

_MESSAGES: Final = {"request": "requests", "response": "responses", "chunked": "chunked"}

# Values in lines, as `fuzz/parsers/values.py` takes them.
_VALUES: Final[Mapping[str, tuple[bytes, ...]]] = {
    "target": (
        b"GET\n/a?b=%20\na.example:80",
        b"OPTIONS\n*\n[::1]:8080",
        b"OPTIONS\nhttp://a\nb",
        b"GET\nhTTp://[v1.a:b]:80/x?y\n127.0.0.1",
        b"CONNECT\na.example:443\na.example",
        b"CONNECT\n[::1]:443\n_a%20:",
    ),
    "switching": (
        b"upgrade\nwebsocket\nUpgrade\nWebSocket",
        b"keep-alive, Upgrade\nh2c, irc/2, ,\nupgrade\nirc/2",
        b"close, x-hop\na/b\nupgrade, close\n\ta\t",
    ),
    "routing": (
        b"3000\n\n\n30s\na.example:80",
        b"65535\nteam/workspace-7\na\n250ms\n[::1]",
        b"\n\nfeature-x-3000.localhost:8080\n2m\nb",
        b"\n\n3000.example.dev.\n0\n",
        b"\nworkspace-65536\n1.localhost\n999999999m\n",
    ),
    "length": (b"0", b"12345", b" 00017\t", b"999999999999999999", b"1, 1", b"5\r\nA: b"),
    "configured": (
        b"127.0.0.1:8080", b"[::1]:0", b"3000", b"5000-5999", b"*.app.example", b"[::1]",
        b"{workspace}.example", b"app.example:3000", b"10.0.0.0/8", b"fd00::/8", b"[fe80::1%1]:1",
    ),
}  # fmt: skip


def write_seeds(folder: Path, name: str) -> None:
    """Write the seeds of a harness into a folder, a file each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(_seeds(name)):
        (folder / f"{number:04}").write_bytes(data)


def _seeds(name: str) -> Iterator[bytes]:
    if name in _MESSAGES:
        for kind in ("valid", "invalid"):
            yield from (case.data for case in read_cases(f"{_MESSAGES[name]}/{kind}"))
    elif name == "trailers":
        bodies = [case.data for case in read_cases("chunked/valid")]
        yield from (body.partition(b"0\r\n")[2] for body in bodies if b"0\r\n" in body)
    else:
        yield from _VALUES[name]
