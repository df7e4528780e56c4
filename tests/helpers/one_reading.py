"""The most forgiving of readers, and whether what is sent on means to it what it means to us."""

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
    """Reads a head as the most forgiving of servers would: what it finds, ours must have meant.

    Lines end in CR, LF or both; white space of any kind around names and values means nothing;
    folded lines are joined; a list is as good as several lines.
    """

    lengths: list[bytes] = field(default_factory=list)
    codings: list[bytes] = field(default_factory=list)
    hosts: list[bytes] = field(default_factory=list)
    ports: list[bytes] = field(default_factory=list)

    def __init__(self, head: bytes) -> None:
        found: dict[bytes, list[bytes]] = {}
        unfolded = re.sub(rb"(?:\r\n|\r|\n)[ \t]+", b" ", head)
        for line in re.split(rb"\r\n|\r|\n", unfolded)[1:]:
            name, _, value = line.partition(b":")
            key = name.strip(_ANY_WHITE_SPACE).lower()
            found.setdefault(key, []).extend(
                item.strip(_ANY_WHITE_SPACE) for item in value.split(b",")
            )
        self.lengths = found.get(b"content-length", [])
        self.codings = found.get(b"transfer-encoding", [])
        self.hosts = found.get(b"host", [])
        self.ports = found.get(b"x-cmux-port-internal", [])


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
    """Fail where the head of an accepted response has a line that no standard has.

    Lines may end in LF and be folded, but nothing mends a byte or a name.
    """
    match = _HEAD.match(data)
    assert match is not None
    lines = re.split(rb"\r?\n", match.group())[1:-2]
    assert all(_ANY_FIELD.fullmatch(line) for line in lines), lines


def check_request(data: bytes) -> bool:
    """Return whether the request is accepted; what is sent on must have one reading then."""
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
    """Return whether the response is accepted; what is sent on must have one reading then."""
    try:
        judged = judge_response(OLD if to_old_client else NEW, [data])
    except BadMessage:
        return False
    if judged is None:
        return False
    assert_well_formed(data)
    if judged.keeps_alive and judged.status != 101:
        # What had to be normalized is the last response of its connection.
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
