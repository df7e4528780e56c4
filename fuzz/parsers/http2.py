"""What an HTTP/2 client sends: frames, and header blocks alone.

Each function takes any bytes, like the functions of `fuzz/parsers/messages.py`.
"""

from functools import partial
from typing import Final

import hpack

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.reserved_fields import NO_RESERVED_FIELDS
from cmux_proxy.http1.scan import RequestScanner
from cmux_proxy.http2.errors import Http2Error
from cmux_proxy.http2.field_memory import FieldMemory
from cmux_proxy.http2.frame_types import PREFACE, SETTINGS
from cmux_proxy.http2.header_field import HeaderField
from cmux_proxy.http2.hpack_decoder import HpackDecoder
from cmux_proxy.http2.http2_limits import Http2Limits
from cmux_proxy.http2.request_composer import RequestComposer
from fuzz.parsers.cuts import outcome, splits_of
from tests.helpers.h2_server import is_valid_for_h2
from tests.helpers.http2_client import play
from tests.helpers.http2_frames import frame

_HEAD_LIMITS: Final = HeadLimits(16_384, 65_536, 256)
_SMALL: Final = Http2Limits(HeadLimits(200, 400, 12), streams=3, connection_window=65_535)
_GREETING: Final = PREFACE + frame(SETTINGS, 0, 0)
_HOSTS: Final = (b":authority", b"host")
# A limit that no input reaches.
_NO_LIMIT: Final = 2**30


def connection(data: bytes) -> object:
    """Read any bytes as what a client sends behind its first SETTINGS frame."""
    whole, *others = [play(_SMALL, [_GREETING, *pieces]) for pieces in splits_of(data)]
    for other in others:
        assert other == whole, f"{other}, but whole {whole}"
    return whole


def block(data: bytes) -> object:
    """Read any bytes as a header block, as hpack does, and as a request."""
    decoder = HpackDecoder(_HEAD_LIMITS, FieldMemory())
    try:
        fields = decoder.decode(data)
    except Http2Error as error:
        return error.code, error.rule
    if decoder.is_too_large:
        assert fields == []
        return "too large"
    theirs = hpack.Decoder(max_header_list_size=_NO_LIMIT).decode(data, raw=True)
    read = [(field.name, field.value) for field in fields]
    assert read == [(bytes(name), bytes(value)) for name, value in theirs]
    return read, [_composed(fields, is_last) for is_last in (False, True)]


def fields(data: bytes) -> object:
    """Read lines of `name=value` as a header list; h2 accepts each that becomes a request.

    A request without a host is refused later, by a check of its own. h2 compares hosts byte by
    byte, and finds a blank behind a last crumb that is empty.
    """
    read = [
        HeaderField(name, value)
        for name, _equals, value in (line.partition(b"=") for line in data.split(b"\n")[:64])
    ]
    outcomes = [_composed(read, is_last) for is_last in (False, True)]
    has_host = any(field.name in _HOSTS for field in read)
    if has_host and any(isinstance(head, bytes) and is_whole for head, is_whole in outcomes):
        theirs = [
            (field.name, field.value.lower() if field.name in _HOSTS else field.value)
            for field in read
            if field.value or field.name != b"cookie"
        ]
        assert is_valid_for_h2(theirs), f"h2 refuses {theirs}"
    return outcomes


def _composed(fields: list[HeaderField], is_last: bool) -> tuple[object, object]:
    """Return the head of a request, which is one head for the scan, or why there is none."""
    try:
        head = RequestComposer().compose(fields, is_last)
    except BadMessage as error:
        return error.status, error.reason
    except Http2Error as error:
        return error.code, error.rule
    assert head.find(b"\r\n\r\n") == len(head) - 4
    scanner = RequestScanner(_HEAD_LIMITS, NO_RESERVED_FIELDS)
    scanned = outcome(partial(scanner.scan, head, 0))
    return head, scanned is not None
