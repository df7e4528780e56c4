"""The first inputs of each harness: the cases of tests/corpus, and some values."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.helpers.cases import read_cases
from tests.helpers.http2_frames import GET, POST, frame, number, plain_block

_MESSAGES: Final = {
    "request": "requests", "response": "responses", "chunked": "chunked",
    "response-chunked": "chunked",
}  # fmt: skip

# Values in lines, as `fuzz/parsers/values.py` reads them, and messages with new combinations.
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
    "response": (
        b"HTTP/1.1 200 OK\nContent-Length: 5, 05\nContent-Length:5\n\nhello",
        b"HTTP/1.9 200\nA: b\n c\n\td\r\n e\nTransfer-Encoding: chunked\n\n5 ; a = b\r\nhello"
        b"\r\n00 \r\nA: b\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive; timeout=5, content-length, \x80\r\n"
        b"Content-Length: 3\r\nTransfer-Encoding: Chunked\r\n\r\n000005\t\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 103\nLink: a\n\nHTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 304\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nA:\r\n \r\n\r\n",
    ),
    "response-chunked": (
        b"5   \r\nhello\r\n0\t\r\n\r\n",
        b"00000000000000000005\r\nhello\r\n00000000000000000\r\nA: b\r\n\r\n",
        b'5 ; a = "b;c" ;d\r\nhello\r\n1;a\r\nx\r\n0 ;e\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200',
        b"fffffffffffffff \r\nhello",
        b"0 ; a =b\r\n\r\n",
    ),
    "http2": (
        frame(1, 5, 1, plain_block(GET)) + frame(6, 0, 0, b"12345678"),
        frame(1, 4, 3, plain_block(POST)) + frame(0, 0, 3, b"abc") + frame(0, 1, 3, b"d"),
        frame(1, 4, 3, plain_block(POST)) + frame(0, 8, 3, b"\x02abc\0\0")
        + frame(1, 5, 3, plain_block([(b"a", b"b")])),
        frame(1, 1, 1, plain_block(GET[:2])) + frame(9, 4, 1, plain_block(GET[2:]))
        + frame(8, 0, 0, number(100_000)) + frame(8, 0, 1, number(100_000)),
        frame(4, 0, 0, b"\0\1" + number(0) + b"\0\4" + number(10)) + frame(4, 1, 0)
        + frame(1, 5, 7, plain_block(GET)) + frame(3, 0, 7, number(8)) + frame(7, 0, 0, bytes(8)),
        frame(2, 0, 5, number(3) + b"\x10") + frame(1, 0x25, 5, number(3) + b"\x10" + b"\x82\x84"),
    ),
    "http2-block": (
        plain_block(GET),
        plain_block([*POST, (b"content-length", b"5"), (b"cookie", b"a"), (b"cookie", b"b")]),
        plain_block([(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]),
        bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"),
        bytes.fromhex("3fe11f20828684be5886a8eb10649cbf408825a849e95ba97d7f8925a849e95bb8e8b4bf"),
        bytes.fromhex("8286844001610162bec05803303132bfbe0f0d023132"),
    ),
    "http2-fields": (
        b":method=GET\n:scheme=http\n:authority=a\n:path=/\nte=trailers\ncookie=a=b\ncookie=c",
        b":method=POST\n:path=/a?b\n:scheme=https\nhost=a\ncontent-length=5\nx-a=",
        b":method=CONNECT\n:authority=a:1\nproxy-authorization=x",
        b":method=CONNECT\n:protocol=websocket\n:scheme=http\n:path=/\n:authority=a\nhost=A",
        b":method=OPTIONS\n:path=*\n:scheme=http\n:authority=a\nexpect=100-continue",
    ),
    "length": (b"0", b"12345", b" 00017\t", b"999999999999999999", b"1, 1", b"5\r\nA: b"),
    "configured": (
        b"127.0.0.1:8080", b"[::1]:0", b"3000", b"5000-5999", b"*.app.example", b"[::1]",
        b"{workspace}.example", b"app.example:3000", b"10.0.0.0/8", b"fd00::/8", b"[fe80::1%1]:1",
    ),
}  # fmt: skip


def write_seeds(folder: Path, name: str) -> None:
    """Write the seeds of a harness into a folder, one file for each."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, data in enumerate(seeds(name)):
        (folder / f"{index:04}").write_bytes(data)


def seeds(name: str) -> Iterator[bytes]:
    """Yield the first inputs of a harness."""
    if name in _MESSAGES:
        for folder in ("valid", "invalid"):
            yield from (case.data for case in read_cases(f"{_MESSAGES[name]}/{folder}"))
        yield from _VALUES.get(name, ())
    elif name == "trailers":
        bodies = [case.data for case in read_cases("chunked/valid")]
        yield from (body.partition(b"0\r\n")[2] for body in bodies if b"0\r\n" in body)
    else:
        yield from _VALUES[name]
