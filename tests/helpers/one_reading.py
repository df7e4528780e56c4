"""A very lax reader, and whether it reads forwarded messages as the proxy does."""

import re
from dataclasses import dataclass, field

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from cmux_proxy.http1.response_coding import WRAP
from tests.helpers.judging import judge_request, judge_response, request_head, response_head

NEW = request_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
OLD = request_head(b"GET / HTTP/1.0\r\n\r\n")
HEAD = request_head(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")

_HEAD = re.compile(rb".*?\n\r?\n", re.DOTALL)
_ANY_FIELD = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:|[ \t])[\t -~\x80-\xff]*")
_ANY_WHITE_SPACE = b" \t\x0b\x0c\x00\x85\xa0"


@dataclass
class LaxReader:
    """Reads a head as a very lax server would; the proxy must read the same framing.

    Lines end in CR, LF or both, any white space around names and values is ignored, folded lines
    are joined, and a list is the same as several lines.
    """

    lengths: list[bytes] = field(default_factory=list)
    codings: list[bytes] = field(default_factory=list)
    hosts: list[bytes] = field(default_factory=list)
    ports: list[bytes] = field(default_factory=list)

    def __init__(self, head: bytes) -> None:
        fields: dict[bytes, list[bytes]] = {}
        unfolded = re.sub(rb"(?:\r\n|\r|\n)[ \t]+", b" ", head)
        for line in re.split(rb"\r\n|\r|\n", unfolded)[1:]:
            name, _, value = line.partition(b":")
            key = name.strip(_ANY_WHITE_SPACE).lower()
            fields.setdefault(key, []).extend(
                item.strip(_ANY_WHITE_SPACE) for item in value.split(b",")
            )
        self.lengths = fields.get(b"content-length", [])
        self.codings = fields.get(b"transfer-encoding", [])
        self.hosts = fields.get(b"host", [])
        self.ports = fields.get(b"x-cmux-port-internal", [])


def assert_one_framing(lax: LaxReader, framing: int) -> None:
    assert len(lax.lengths) + len(lax.codings) <= 1
    if framing == CHUNKED:
        assert [coding.lower() for coding in lax.codings] == [b"chunked"]
    elif framing == UNTIL_CLOSE:
        assert lax.lengths == lax.codings == []
    else:
        assert lax.codings == []
        assert all(length.isdigit() and int(length) == framing for length in lax.lengths)
        assert lax.lengths or framing == 0


def assert_well_formed(data: bytes) -> None:
    """Fail if the head of an accepted response has a line that is not a field.

    Lines may end in LF and be folded; an invalid byte or name is never normalized.
    """
    match = _HEAD.match(data)
    assert match is not None
    lines = re.split(rb"\r?\n", match.group())[1:-2]
    assert all(_ANY_FIELD.fullmatch(line) for line in lines), lines


def check_request(data: bytes) -> bool:
    """Return whether the request is accepted; if it is, the forwarded one has one reading."""
    try:
        judged = judge_request([data])
    except (BadMessage, RouteRefused):
        return False
    if judged is None or judged.head.method == b"CONNECT":
        return False
    end = judged.forwarded.index(b"\r\n\r\n") + 4
    lax = LaxReader(judged.forwarded[:end])
    assert_one_framing(lax, judged.framing)
    assert len(lax.hosts) == 1
    assert lax.ports == []
    assert judged.forwarded.split(b"\r\n")[0].count(b" ") == 2
    return True


def check_response(data: bytes, to_old_client: bool) -> bool:
    """Return whether the response is accepted; if it is, the forwarded one has one reading."""
    try:
        judged = judge_response(OLD if to_old_client else NEW, [data])
    except BadMessage:
        return False
    if judged is None:
        return False
    assert_well_formed(data)
    if judged.keeps_alive and judged.status != 101:
        # A normalized response is the last one of its connection.
        head = response_head(data)
        assert data.startswith(head.buffer[: head.end])
    if judged.status < 200 or judged.status in (204, 304):
        return False
    framing = judged.framing
    if judged.coding & WRAP:
        framing = CHUNKED
    elif framing == CHUNKED and to_old_client:
        framing = UNTIL_CLOSE
    assert_one_framing(LaxReader(judged.head), framing)
    return True
