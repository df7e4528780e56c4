"""Attacks that are refused, through real sockets, with an upstream that would fall for each.

What the attacker gets is one refusal and the end; the upstream gets nothing of the attack, or of a
body that turns bad under way no more than what was good; the next client gets its own answer.
"""

import pytest

from tests.helpers.lenient import TASTES, Taste
from tests.smuggling.attacks import (
    BOTH_FRAMINGS,
    CHUNKED_BODIES,
    CODING,
    CODINGS,
    HIDDEN,
    LENGTH,
    LENGTHS,
    LINES,
    NAMES,
    NOMINATED,
    POST,
    attack,
)
from tests.smuggling.world import forwarded, statuses, world

ROUTED = b"X-Cmux-Port-Internal: 1\r\n"
HEADS = {
    **{name: attack(*fields) for name, fields in BOTH_FRAMINGS.items()},
    **{f"coding: {name}": attack(coding, LENGTH) for name, coding in CODINGS.items()},
    **{f"coding last: {name}": attack(LENGTH, coding) for name, coding in CODINGS.items()},
    **{f"coding alone: {name}": attack(coding) for name, coding in CODINGS.items()},
    **{
        f"length: {name}": attack(b"Content-Length: " + value + b"\r\n")
        for name, value in LENGTHS.items()
    },
    **{f"name: {name}": attack(LENGTH, line) for name, line in NAMES.items()},
    **{f"line: {name}": head + ROUTED + b"\r\n" + HIDDEN for name, head in LINES.items()},
    **{
        f"nominated: {name}": attack(LENGTH, f"Connection: close, {name}\r\n".encode())
        for name in NOMINATED
    },
    "coding of HTTP/1.0": attack(CODING).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
}


@pytest.mark.parametrize("taste", TASTES.values(), ids=TASTES)
@pytest.mark.parametrize("data", HEADS.values(), ids=HEADS)
async def test_nothing_of_an_ambiguous_head_reaches_anyone(data: bytes, taste: Taste) -> None:
    async with world(taste) as on:
        await on.other(b"/before")
        answer = await on.attack(data)
        assert statuses(answer) in ([400], [505])
        assert b"\r\nConnection: close\r\n" in answer
        await on.other(b"/after")
        assert on.received == [forwarded(b"/before") + forwarded(b"/after")]


@pytest.mark.parametrize("body", CHUNKED_BODIES.values(), ids=CHUNKED_BODIES)
async def test_nothing_of_a_body_that_is_bad_at_once_reaches_anyone(body: bytes) -> None:
    async with world(Taste()) as on:
        await on.other(b"/before")
        assert statuses(await on.attack(attack(CODING, body=body))) == [400]
        await on.other(b"/after")
        assert on.received == [forwarded(b"/before") + forwarded(b"/after")]


@pytest.mark.parametrize("body", CHUNKED_BODIES.values(), ids=CHUNKED_BODIES)
async def test_a_body_that_turns_bad_is_cut_off_before_what_is_bad(body: bytes) -> None:
    async with world(Taste()) as on:
        await on.other(b"/before")
        assert statuses(await on.attack(attack(CODING, body=b""), body)) == [400]
        await on.other(b"/after")
        head = POST.replace(ROUTED, b"") + CODING + b"\r\n"
        first, second = on.received
        assert first == forwarded(b"/before") + head
        assert second == forwarded(b"/after")
        assert [asked.target for asked in on.upstream.asked] == ["/before", "/after"]
