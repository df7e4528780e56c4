"""Writes the head that is forwarded: the head as it came, without its cuts, with new lines.

The other field lines are forwarded byte for byte and in order (RFC 9110 section 7.6.1 says which
may not be forwarded). `tail` is the first part of the body, because a head and its tail are sent in
one write. Does not know why a line is added or removed.
"""

from typing import Final

from cmux_proxy.http1.grammar import NAMED_FIELD_LINE
from cmux_proxy.http1.head import RequestHead, ResponseHead, Span
from cmux_proxy.http1.hop_by_hop import remove_spans, renew_hop_by_hop
from cmux_proxy.http1.request_target import ForwardTarget

ADD_CLOSE: Final = b"Connection: close\r\n"
ADD_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
ADD_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_ADD_UPGRADE: Final = b"Connection: upgrade\r\n"

_UPGRADE_REQUIRED: Final = 426


class Edits:
    """Changes to a request head besides its cuts.

    `host` is the new Host, or None to keep it. `drop` has lower-case names whose lines are removed,
    `lookalikes` names whose lines are removed if they are spelled with `_` in place of at least one
    `-`, and `added` whole new lines.
    """

    __slots__ = ("added", "drop", "host", "lookalikes")

    def __init__(self, host: bytes | None) -> None:
        self.host = host
        self.drop: tuple[bytes, ...] = ()
        self.lookalikes: tuple[bytes, ...] = ()
        self.added = b""

    def replace(self, name: bytes, value: bytes) -> None:
        """Replace all lines with that name by one; the value has to be valid."""
        self.drop += (name.lower(),)
        self.added += name + b": " + value + b"\r\n"

    def only_adds(self) -> bool:
        """Return whether all lines of the head are kept as they are."""
        return self.host is None and not self.drop and not self.lookalikes


def serialize_request(head: RequestHead, tail: bytes) -> bytes:
    """Return an HTTP/1.1 request in origin form and without an upgrade, ready to send."""
    return head.stripped + tail if len(tail) > 0 else head.stripped


def serialize_changed_request(
    head: RequestHead,
    target: ForwardTarget | None,
    upgrade: bool,
    default_host: bytes,
    tail: bytes,
    edits: Edits | None = None,
) -> bytes:
    """Return a request that needs more changes than its cuts, ready to send.

    `target` replaces the target and the Host value (RFC 9112 section 3.2.2). `default_host` is the
    Host for an HTTP/1.0 request without one, which HTTP/1.1 does not allow. `edits` are made in
    addition.
    """
    if edits is not None and edits.only_adds() and target is None and head.minor and not upgrade:
        return _insert(head.stripped, edits.added) + tail
    section = head.section()
    spans = head.spans()
    renewed, added_lines = renew_hop_by_hop(head, spans, upgrade)
    cuts = [span for span in spans.cuts if span not in renewed]
    path = head.target if target is None else target.path
    line = head.method + b" " + path + b" HTTP/1.1\r\n"
    new_host = None if target is None else target.authority
    if edits is not None:
        new_host = edits.host or new_host
        added_lines += edits.added
        cuts += _spans_to_drop(section, edits)
    if new_host is None and head.host is None:
        new_host = default_host
    if new_host is not None:
        line += b"Host: " + new_host + b"\r\n"
        if head.host is not None:
            cuts.append(spans.host_line)
    cuts = sorted(set(cuts))
    return line + _insert(remove_spans(section, cuts), added_lines) + tail


def serialize_response(head: ResponseHead, added_lines: bytes, unwrap: bool, tail: bytes) -> bytes:
    """Return a response, ready to send; `unwrap` removes the Transfer-Encoding line.

    The version in the status line is the proxy's (RFC 9110 section 2.5).
    """
    stripped = head.stripped
    if unwrap or head.status == _UPGRADE_REQUIRED:
        stripped = head.buffer[: head.line_end] + _changed_section(head, unwrap)
    if not head.minor:
        stripped = b"HTTP/1.1" + stripped[8:]
    if added_lines:
        stripped = _insert(stripped, added_lines)
    return stripped + tail if tail else stripped


def serialize_whole_response(head: ResponseHead, added_lines: bytes, unwrap: bool) -> bytes:
    """Do the same for a response that ends with the bytes behind the head.

    These are at most MAX_JOINED; most such responses are forwarded without a change.
    """
    if not head.minor or unwrap or len(added_lines) > 0 or head.status == _UPGRADE_REQUIRED:
        return serialize_response(head, added_lines, unwrap, head.rest())
    return head.spliced


def encode_chunk(data: bytes) -> bytes:
    """Return one chunk of the chunked coding (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _insert(section: bytes, lines: bytes) -> bytes:
    """Return a section, or a head, with the lines inserted before its blank line."""
    return section[:-2] + lines + b"\r\n"


def _changed_section(head: ResponseHead, unwrap: bool) -> bytes:
    """Return a response's section without its coding, or with Upgrade if the status is 426."""
    spans = head.spans()
    cuts = set(spans.cuts)
    lines = b""
    if unwrap:
        cuts.add(spans.transfer_encoding_line)
    if head.status == _UPGRADE_REQUIRED and head.upgrade is not None:
        # RFC 9110 sections 15.5.22 and 7.8: it has to list protocols, and Connection names Upgrade.
        cuts.difference_update(spans.upgrade_lines)
        lines = _ADD_UPGRADE
    return _insert(remove_spans(head.section(), sorted(cuts)), lines)


def _spans_to_drop(section: bytes, edits: Edits) -> list[Span]:
    """Return the lines that the edits remove."""
    spans = []
    for match in NAMED_FIELD_LINE.finditer(section):
        name = match.group(1).lower()
        if name in edits.drop or (b"_" in name and name.replace(b"_", b"-") in edits.lookalikes):
            spans.append(match.span())
    return spans
