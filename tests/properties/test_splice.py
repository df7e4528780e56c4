"""A forwarded head has all lines but the cuts, and the added lines, in order and byte for byte.

The model below makes the same head from lines, without offsets.
"""

from dataclasses import dataclass

from hypothesis import assume, given
from hypothesis import strategies as st

from cmux_proxy.http1.request_target import ForwardTarget, forward_target
from cmux_proxy.http1.response_coding import coding_field_lines
from cmux_proxy.http1.serialize import (
    serialize_changed_request,
    serialize_request,
    serialize_response,
)
from cmux_proxy.http1.upgrade import requests_upgrade
from tests.helpers.grammars import requests, responses
from tests.helpers.judging import request_head, response_head

HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization",
    b"proxy-connection", b"te", b"upgrade",
}  # fmt: skip
UPGRADE_FIELDS = {b"connection", b"upgrade"}
OPTIONS = {b"close", b"keep-alive", b"upgrade", b""}
TE = [b"TE: trailers", b"Connection: TE"]


@dataclass
class Lines:
    """A head as lines, and the facts of its hop-by-hop fields."""

    start: bytes
    fields: list[bytes]
    nominated: set[bytes]
    accepts_trailers: bool
    protocols: list[bytes]
    has_h2c: bool

    def __init__(self, head: bytes) -> None:
        self.start, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.fields = [field for field in fields if field]
        options = [item.lower() for item in self.members(b"connection")]
        self.nominated = set(options) - OPTIONS
        is_new = self.start.endswith(b"1.1")
        self.accepts_trailers = is_new and b"trailers" in map(bytes.lower, self.members(b"te"))
        offered = self.members(b"upgrade")
        self.protocols = [item for item in offered if item and item.lower() != b"h2c"]
        has_settings = any(name_of(field) == b"http2-settings" for field in self.fields)
        is_request = not self.start.startswith(b"HTTP/")
        self.has_h2c = is_request and has_settings and b"h2c" in map(bytes.lower, offered)
        if self.has_h2c:
            self.nominated.add(b"http2-settings")

    def members(self, name: bytes) -> list[bytes]:
        return [
            item.strip(b" \t")
            for field in self.fields
            if name_of(field) == name
            for item in field.partition(b":")[2].split(b",")
        ]

    def without(self, names: set[bytes]) -> list[bytes]:
        return [field for field in self.fields if name_of(field) not in names]


def name_of(field: bytes) -> bytes:
    return field.partition(b":")[0].lower()


def is_internal(field: bytes) -> bool:
    name = name_of(field)
    is_routing = name.startswith(b"x-cmux-") and name.endswith(b"-internal")
    return is_routing or name in (b"x-cmux-token", b"x-cmux-wait")


def whole(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


def head_of(message: bytes) -> bytes:
    return message[: message.index(b"\r\n\r\n") + 4]


@given(requests(), st.binary(max_size=5))
def test_a_request_loses_only_its_cuts(data: bytes, tail: bytes) -> None:
    head = request_head(data)
    lines = Lines(head_of(data))
    kept = lines.without(HOP_BY_HOP | lines.nominated)
    te = TE if lines.accepts_trailers else []
    expected = whole(lines.start, *[field for field in kept if not is_internal(field)], *te)
    if head.minor:
        assert serialize_request(head, tail) == expected + tail


@given(requests(), st.binary(max_size=5))
def test_a_changed_request_has_a_new_start_line_and_host(data: bytes, tail: bytes) -> None:
    head = request_head(data)
    target = forward_target(head)
    path = head.target if target is None else target.path
    lines = Lines(head_of(data))
    cut = HOP_BY_HOP | lines.nominated | (set() if target is None else {b"host"})
    kept = [field for field in lines.without(cut) if not is_internal(field)]
    added = [] if target is None else [b"Host: " + target.authority]
    te = TE if lines.accepts_trailers else []
    expected = whole(head.method + b" " + path + b" HTTP/1.1", *added, *kept, *te)
    assert serialize_changed_request(head, target, False, b"unused", tail) == expected + tail


@given(requests())
def test_a_request_without_host_gets_one(data: bytes) -> None:
    lines = Lines(head_of(data))
    bare = whole(lines.start, *lines.without({b"host"}))
    head = request_head(bare)
    with_host = serialize_changed_request(head, None, False, b"h:1", b"")
    start, fields = with_host.split(b"\r\n", 1)
    assert start == head.method + b" " + head.target + b" HTTP/1.1"
    kept = serialize_request(head, b"")[head.line_end :]
    # The TE of an HTTP/1.0 client is ignored, and its head is always changed.
    kept = kept if head.minor else kept.replace(b"\r\n".join([*TE, b""]), b"")
    assert fields == b"Host: h:1\r\n" + kept


UPGRADE_LINES = (b"Connection: Upgrade", b"UPGRADE: a, b/1", b"upgrade:c", b"connection: upgrade")


@given(requests(), st.permutations(UPGRADE_LINES), st.integers(2, 4), st.booleans())
def test_an_upgrade_keeps_its_fields(
    data: bytes, upgrade_lines: list[bytes], number: int, absolute: bool
) -> None:
    lines = Lines(head_of(data.replace(b" HTTP/1.0\r\n", b" HTTP/1.1\r\n", 1)))
    for index, line in enumerate(upgrade_lines[:number]):
        lines.fields.insert(index * 2, line)
    data = whole(lines.start, *lines.fields)
    lines = Lines(data)
    head = request_head(data)
    assume(requests_upgrade(head))
    target = ForwardTarget(b"/to", b"new") if absolute else None
    cut = (HOP_BY_HOP - UPGRADE_FIELDS) | lines.nominated | ({b"host"} if absolute else set())
    added = []
    if lines.has_h2c:
        cut.add(b"upgrade")
        added = [b"Upgrade: " + b", ".join(lines.protocols)]
    if lines.accepts_trailers:
        added += [b"TE: trailers", b"Connection: upgrade, TE"]
    elif lines.nominated:
        added += [b"Connection: upgrade"]
    if added:
        cut.add(b"connection")
    kept = [field for field in lines.without(cut) if not is_internal(field)]
    host = [b"Host: new"] if absolute else []
    path = b"/to" if absolute else head.target
    expected = whole(head.method + b" " + path + b" HTTP/1.1", *host, *kept, *added)
    assert serialize_changed_request(head, target, True, b"unused", b"") == expected


@given(responses(), st.integers(0, 7), st.booleans(), st.binary(max_size=5))
def test_a_response_loses_its_cuts_and_gets_the_added_lines(
    data: bytes, coding: int, is_old: bool, tail: bytes
) -> None:
    head = response_head(data)
    # If the space before an absent reason phrase is missing, the scanner has added it.
    lines = Lines(head_of(head.buffer))
    is_coded = head.transfer_encoding is not None
    unwrap = bool(coding & 4) and is_coded
    cut = HOP_BY_HOP | lines.nominated | ({b"transfer-encoding"} if unwrap else set())
    upgrade = []
    if head.status == 426 and head.upgrade is not None:
        cut.remove(b"upgrade")
        upgrade = [b"Connection: upgrade"]
    kept = lines.without(cut)
    version = b"1.0" if is_old else b"1.1"
    added = coding_field_lines(int(version == b"1.1"), coding)
    expected = whole(b"HTTP/1.1" + lines.start[8:], *kept, *upgrade, *added.split(b"\r\n")[:-1])
    assert serialize_response(head, added, unwrap, tail) == expected + tail
