"""Attacks that are refused, through real sockets, with an upstream that is vulnerable to each.

The attacker gets one refusal, and the connection closes. The upstream receives nothing of the
attack, or of an invalid body only its valid beginning. The next client gets its own response.
"""

import pytest

from tests.helpers.lenient import FRAMING_PREFERENCES, FramingPreference
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


@pytest.mark.parametrize("preference", FRAMING_PREFERENCES.values(), ids=FRAMING_PREFERENCES)
@pytest.mark.parametrize("data", HEADS.values(), ids=HEADS)
async def test_nothing_of_an_ambiguous_head_is_forwarded(
    data: bytes, preference: FramingPreference
) -> None:
    async with world(preference) as on:
        await on.other(b"/before")
        response = await on.attack(data)
        assert statuses(response) in ([400], [505])
        assert b"\r\nConnection: close\r\n" in response
        await on.other(b"/after")
        assert on.received == [forwarded(b"/before") + forwarded(b"/after")]


@pytest.mark.parametrize("body", CHUNKED_BODIES.values(), ids=CHUNKED_BODIES)
async def test_nothing_of_a_body_with_an_invalid_start_is_forwarded(body: bytes) -> None:
    async with world(FramingPreference()) as on:
        await on.other(b"/before")
        assert statuses(await on.attack(attack(CODING, body=body))) == [400]
        await on.other(b"/after")
        assert on.received == [forwarded(b"/before") + forwarded(b"/after")]


@pytest.mark.parametrize("body", CHUNKED_BODIES.values(), ids=CHUNKED_BODIES)
async def test_only_the_valid_beginning_of_a_body_is_forwarded(body: bytes) -> None:
    async with world(FramingPreference()) as on:
        await on.other(b"/before")
        assert statuses(await on.attack(attack(CODING, body=b""), body)) == [400]
        await on.other(b"/after")
        head = POST.replace(ROUTED, b"") + CODING + b"\r\n"
        first, second = on.received
        assert first == forwarded(b"/before") + head
        assert second == forwarded(b"/after")
        assert [request.target for request in on.upstream.requests] == ["/before", "/after"]
