"""The head that leaves: what came, minus the cuts, plus what framing and persistence need.

Field lines stay byte for byte, in order (RFC 9110 section 7.6.1 says which may not travel on).
A head and the first bytes of its body leave as one piece, so `tail` is passed through here.
"""

from typing import Final

from cmux_proxy.http1.fields import without
from cmux_proxy.http1.grammar import NAMED_FIELD_LINE
from cmux_proxy.http1.head import RequestHead, ResponseHead, Span
from cmux_proxy.http1.hop_by_hop import renewal, upgrade_lines
from cmux_proxy.http1.request_target import ForwardTarget

ADD_CLOSE: Final = b"Connection: close\r\n"
ADD_KEEP_ALIVE: Final = b"Connection: keep-alive\r\n"
ADD_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
_ADD_UPGRADE: Final = b"Connection: upgrade\r\n"

_UPGRADE_REQUIRED: Final = 426


class Edits:
    """Changes to a request head besides its cuts.

    `host` is the new Host, None where it stays; `drop` are lower-case names whose lines go,
    `lookalikes` such whose lines go if they are spelled with `_` for one `-` or more, and `added`
    whole new lines.
    """

    __slots__ = ("added", "drop", "host", "lookalikes")

    def __init__(self, host: bytes | None) -> None:
        self.host = host
        self.drop: tuple[bytes, ...] = ()
        self.lookalikes: tuple[bytes, ...] = ()
        self.added = b""

    def replace(self, name: bytes, value: bytes) -> None:
        """Have one line of that name, whatever was there; the value has to be a valid one."""
        self.drop += (name.lower(),)
        self.added += name + b": " + value + b"\r\n"

    def only_adds(self) -> bool:
        """Return whether all lines of the head stay as they are."""
        return self.host is None and not self.drop and not self.lookalikes


def plain_request(head: RequestHead, tail: bytes) -> bytes:
    """Return an HTTP/1.1 request in origin form that asks for no upgrade, ready to send."""
    return head.plain + tail if tail else head.plain


def other_request(
    head: RequestHead,
    to: ForwardTarget | None,
    upgrade: bool,
    host: bytes,
    tail: bytes,
    edits: Edits | None = None,
) -> bytes:
    """Return a request that needs more than cuts, ready to send.

    `to` replaces the target and the Host value (RFC 9112 section 3.2.2), `host` is the Host for
    an HTTP/1.0 request that has none, which HTTP/1.1 does not allow; `edits` come on top.
    """
    if edits is not None and edits.only_adds() and to is None and head.minor and not upgrade:
        return _with(head.plain, edits.added) + tail
    section = head.section()
    spans = head.spans()
    stay, additions = renewal(head, spans, upgrade)
    cuts = [span for span in spans.cuts if span not in stay]
    path = head.target if to is None else to.path
    line = head.method + b" " + path + b" HTTP/1.1\r\n"
    new_host = None if to is None else to.authority
    if edits is not None:
        new_host = edits.host or new_host
        additions += edits.added
        cuts += _spans_to_drop(section, edits)
    if new_host is None and head.fields.host is None:
        new_host = host
    if new_host is not None:
        line += b"Host: " + new_host + b"\r\n"
        if head.fields.host is not None:
            cuts.append(spans.host)
    cuts = sorted(set(cuts))
    return line + _with(without(section, cuts), additions) + tail


def response(head: ResponseHead, additions: bytes, unwrap: bool, tail: bytes) -> bytes:
    """Return a response, ready to send; `unwrap` drops the Transfer-Encoding line.

    The version in the status line is ours (RFC 9110 section 2.5), all else the upstream's.
    """
    plain = head.plain
    if unwrap or head.status == _UPGRADE_REQUIRED:
        plain = head.buffer[: head.line_end] + _other_section(head, unwrap)
    if not head.minor:
        plain = b"HTTP/1.1" + plain[8:]
    if additions:
        plain = _with(plain, additions)
    return plain + tail if tail else plain


def chunk(data: bytes) -> bytes:
    """Return one chunk of the chunked coding (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _with(section: bytes, lines: bytes) -> bytes:
    """Return a section, or a head, with more lines before its blank line."""
    return section[:-2] + lines + b"\r\n"


def _other_section(head: ResponseHead, unwrap: bool) -> bytes:
    """Return a response's section without its coding, or that of a 426, which keeps Upgrade."""
    section = head.section()
    spans = head.spans()
    cuts = set(spans.cuts)
    lines = b""
    if unwrap:
        cuts.add(spans.coding)
    if head.status == _UPGRADE_REQUIRED and head.fields.upgrade is not None:
        # RFC 9110 sections 15.5.22 and 7.8: it says which protocols, and Connection names it.
        cuts.difference_update(upgrade_lines(section, spans))
        lines = _ADD_UPGRADE
    return _with(without(section, sorted(cuts)), lines)


def _spans_to_drop(section: bytes, edits: Edits) -> list[Span]:
    """Return where the lines stand that have to go."""
    spans = []
    for match in NAMED_FIELD_LINE.finditer(section):
        name = match.group(1).lower()
        if name in edits.drop or (b"_" in name and name.replace(b"_", b"-") in edits.lookalikes):
            spans.append(match.span())
    return spans
