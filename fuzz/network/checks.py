"""What has to hold after a step: for every byte that somebody has heard, whose it was."""

import re
from typing import Final

from cmux_proxy.http1.body import request_body
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import request_framing
from fuzz.network.dialogues import CLIENT, UPSTREAM
from fuzz.network.peers import Failure
from fuzz.network.record import Record
from fuzz.network.steps import RESET, Leaving, mark
from tests.helpers.judging import CHUNKS, REQUESTS

_MARK: Final = re.compile(rb"m[0-9]{7}x")
# An answer of the proxy's own.
_OWN: Final = re.compile(
    rb"HTTP/1\.1 [45][0-9][0-9] [^\r]*\r\n.*\r\nProxy-Status: cmux-proxy; error=.*", re.DOTALL
)
_CHUNK: Final = re.compile(rb"([0-9a-f]+)\r\n")
_SHOWN: Final = 1500


def check_step(record: Record) -> None:
    """Raise Failure unless everybody has heard his own bytes, and those that he had to."""
    for who in (CLIENT, UPSTREAM):
        _check_marks(record, who)
    if record.step.is_mutated:
        if not record.step.dialogue.is_tunnel:
            _check_requests(record)
    elif record.step.is_whole:
        _check_whole(record)
    else:
        _check_beginnings(record)


def _check_marks(record: Record, who: str) -> None:
    """What a side hears comes from this step, or is what somebody has made of it."""
    own = {mark(record.number)}
    for said in record.said.values():
        own.update(_MARK.findall(said))
    strange = set(_MARK.findall(record.heard(who))) - own
    if strange:
        raise Failure(f"the {who} hears {strange}: {_shown(record.heard(who))}")


def _check_whole(record: Record) -> None:
    for who in (CLIENT, UPSTREAM):
        heard, expected = record.heard(who), record.expected(who)
        if any(turn.is_opaque and turn.who != who for turn in record.step.dialogue.turns):
            if _OWN.fullmatch(heard) is None:
                raise Failure(f"the {who} hears no answer of the proxy's: {_shown(heard)}")
        elif _plain(record, who, heard) != _plain(record, who, expected):
            raise Failure(f"the {who} hears {_shown(heard)}\ninstead of {_shown(expected)}")


def _check_beginnings(record: Record) -> None:
    """What somebody's leaving leaves is a beginning, or is followed by an answer of ours."""
    _check_not_sent_twice(record)
    expected = record.expected(UPSTREAM)
    starts = [0]
    for turn in record.step.dialogue.turns:
        if turn.who == CLIENT:
            starts.append(starts[-1] + len(turn.hears))
    for upstream in record.upstreams:
        heard = bytes(upstream.heard)
        if not any(expected.startswith(heard, start) for start in starts):
            raise Failure(f"the upstream hears {_shown(heard)}\nand not {_shown(expected)}")
    heard = record.heard(CLIENT)
    if not _may_be_left(record, heard):
        expected = record.expected(CLIENT)
        raise Failure(f"the client hears {_shown(heard)}\nand not {_shown(expected)}")
    _check_not_taken_for_whole(record, heard)


def _check_not_sent_twice(record: Record) -> None:
    """Only what is safe is asked again, once, and only on another connection than the first."""
    asked = b"".join(bytes(upstream.heard[:4]) for upstream in record.upstreams)
    if asked.count(b"POST") > 1 or len(record.upstreams) > 2 * len(record.step.dialogue.turns):
        raise Failure(
            f"a request is sent again that must not be: {record.heard(UPSTREAM)[:_SHOWN]!r}"
        )


def _may_be_left(record: Record, heard: bytes) -> bool:
    expected = _plain(record, CLIENT, record.expected(CLIENT))
    if expected.startswith(_plain(record, CLIENT, heard).removesuffix(_END)):
        return True
    starts = [match.start() for match in re.finditer(rb"HTTP/1\.1 ", heard)]
    return any(
        _OWN.fullmatch(heard, start) is not None
        and expected.startswith(_plain(record, CLIENT, heard[:start]))
        for start in starts
    )


def _check_not_taken_for_whole(record: Record, heard: bytes) -> None:
    """What ends with the connection ends in a reset, or without its last chunk, if it is not all.

    Of an upstream that has reset its connection; any other end may be meant.
    """
    step = record.step
    if step.leaving != (Leaving(UPSTREAM, RESET),) or step.dialogue.turns[step.turn].who == CLIENT:
        return
    if step.at == len(step.dialogue.turns[step.turn].says) or not heard.startswith(b"HTTP/1.1 200"):
        return
    if step.dialogue.is_wrapped and _plain(record, CLIENT, heard).endswith(_END):
        raise Failure(f"half an answer that looks whole: {_shown(heard)}")
    is_by_close = b"Connection: close\r\n" in heard
    if is_by_close and not step.dialogue.is_wrapped and not record.client.was_reset:
        raise Failure(f"half an answer, and an end as if it were whole: {_shown(heard)}")


_END: Final = b"(end)"


def _plain(record: Record, who: str, heard: bytes) -> bytes:
    """Return what was heard, without the chunks that the proxy has put it into."""
    if who != CLIENT or not record.step.dialogue.is_wrapped:
        return heard
    head, blank, body = heard.partition(b"\r\n\r\n")
    plain = head + blank
    while (line := _CHUNK.match(body)) is not None:
        size = int(line[1], 16)
        plain += body[line.end() : line.end() + size] if size else _END
        body = body[line.end() + size + 2 :]
    return plain


def _check_requests(record: Record) -> None:
    """What a proxy sends on are requests that it would take itself, whatever came in."""
    for upstream in record.upstreams:
        rest = bytes(upstream.heard)
        try:
            while rest:
                rest = _behind_request(rest)
        except BadMessage as error:
            text = f"the upstream hears what is refused ({error})"
            raise Failure(f"{text}: {_shown(bytes(upstream.heard))}") from None


def _behind_request(data: bytes) -> bytes:
    head = REQUESTS.scan(data, 0)
    if head is None or head.fields.upgrade is not None:
        return b""
    framing = request_framing(head)
    if framing == 0:
        return data[head.end :]
    body = request_body(framing, CHUNKS)
    body.feed(data, head.end)
    return body.trailing_data


def _shown(data: bytes) -> str:
    return f"{data[:_SHOWN]!r}" + (f" ... {len(data)} bytes" if len(data) > _SHOWN else "")
