"""Chunked bodies of requests and of responses, and their trailers.

Each function takes any bytes, like the functions of `fuzz/parsers/messages.py`.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from cmux_proxy.http1.chunked_body import ChunkedBody, ChunkRules
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED
from cmux_proxy.http1.response_body import ResponseChunkedBody
from cmux_proxy.http1.trailers import may_forward_trailer
from fuzz.parsers.cuts import Pieces, is_refusal, outcome, same_in_all_splits
from tests.helpers.feeding import feed_pieces
from tests.helpers.judging import CHUNKS
from tests.helpers.one_reading import LaxReader
from tests.helpers.second_opinion import (
    assert_agreed_chunks,
    assert_raw_chunks_agreed,
    has_framing_trailer,
)

_SMALL_CHUNKS: Final = ChunkRules(line=8, extensions=12, trailers=40, reserved_prefix=b"x-cmux-")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]+)[^\r\n]*\r\n")

NewBody = Callable[[ChunkRules, bool], ChunkedBody]


class BodyResult(NamedTuple):
    """The result of feeding a body."""

    output: bytes
    is_done: bool
    trailing_data: bytes
    is_normalized: bool


def chunked(data: bytes) -> object:
    """Read any bytes as the chunked body of a request, with and without unwrapping."""
    return [_chunked(data, rules, ChunkedBody) for rules in (CHUNKS, _SMALL_CHUNKS)]


def response_chunked(data: bytes) -> object:
    """Read any bytes as the chunked body of a response; h11 reads the forwarded body alike."""
    results = [_chunked(data, rules, ResponseChunkedBody) for rules in (CHUNKS, _SMALL_CHUNKS)]
    result = outcome(partial(_feed, ResponseChunkedBody, CHUNKS, False, [data]))
    _check_strict_reading(data, result)
    if isinstance(result, BodyResult) and result.is_done:
        content = _feed(ResponseChunkedBody, CHUNKS, True, [data]).output
        assert _content(data) == content
        assert_agreed_chunks(result.output, content)
        if not has_framing_trailer(CHUNKED, data):
            assert_raw_chunks_agreed(data, content, result.trailing_data, result.is_normalized)
    return results


def _check_strict_reading(data: bytes, result: object) -> None:
    """A body refused in a response is refused in a request; one not normalized reads alike."""
    strict = outcome(partial(_feed, ChunkedBody, CHUNKS, False, [data]))
    if is_refusal(result):
        assert is_refusal(strict), f"{result}, but strictly {strict}"
    elif isinstance(result, BodyResult) and result.is_done and not result.is_normalized:
        assert strict == result


def _chunked(data: bytes, rules: ChunkRules, new: NewBody) -> object:
    wrapped = same_in_all_splits(data, partial(_feed, new, rules, False), _is_done)
    content = same_in_all_splits(data, partial(_feed, new, rules, True), _is_done)
    whole = wrapped[0]
    if is_refusal(whole):
        assert content[0] == whole
    elif isinstance(whole, BodyResult) and whole.is_done:
        assert content[0] == whole._replace(output=_content(whole.output))
        # The forwarded body is valid.
        forwarded = _feed(ChunkedBody, rules, False, [whole.output])
        assert forwarded == BodyResult(whole.output, True, b"", False)
    return wrapped, content


def _feed(new: NewBody, rules: ChunkRules, unwrap: bool, pieces: Pieces) -> BodyResult:
    body = new(rules, unwrap)
    fed = feed_pieces(body, pieces)
    return BodyResult(fed.output, fed.is_done, fed.trailing_data, body.is_normalized)


def _is_done(result: object) -> bool:
    return isinstance(result, BodyResult) and result.is_done


def _content(data: bytes) -> bytes:
    """Return the content of a chunked body as a simple reader finds it."""
    content = b""
    position = 0
    while (line := _CHUNK.match(data, position)) is not None and int(line[1], 16):
        end = line.end() + int(line[1], 16)
        content += data[line.end() : end]
        assert data[end : end + 2] == b"\r\n"
        position = end + 2
    return content


def trailers(data: bytes) -> object:
    """Read any bytes after the last chunk."""
    results = chunked(b"0\r\n" + data)
    lines = [outcome(partial(may_forward_trailer, line, b"x-cmux-")) for line in _lines(data)]
    fed = ChunkedBody(CHUNKS, unwrap=False)
    try:
        sent = fed.feed(b"0\r\n" + data, 0)
    except BadMessage:
        return results, lines
    lax = LaxReader(sent)
    assert lax.lengths + lax.codings + lax.hosts + lax.ports == [], sent
    return results, lines


def _lines(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")]
