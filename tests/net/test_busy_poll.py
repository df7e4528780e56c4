"""Busy polling with a loop and a clock of the test's own: when it goes on, and what it learns."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import pytest

from cmux_proxy import Config
from cmux_proxy.net.busy_poll import FROM_CLIENT, FROM_UPSTREAM, WAKE_UP, BusyPoll, Window
from tests.helpers.fakes import FakeLoop, World
from tests.helpers.script import head

# Powers of two, so that sums of them are exact.
MOST = 2.0**-13
STEP = MOST / 16
NEAR = 6 * STEP
JUST_WITHIN = 15 * STEP
FAR = 1.0
OUT_OF_REACH = MOST + WAKE_UP / 2
NOBODY = -1
ROUTE = "X-Cmux-Port-Internal: 80"


class Desk:
    """A BusyPoll, its loop and its clock; nothing has arrived for long."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.now = 0.0
        loop = cast(asyncio.AbstractEventLoop, self.loop)
        self.busy_poll = BusyPoll(loop, MOST, lambda: self.now)
        self.wait(FAR)

    def arrival(self, sender: int = FROM_CLIENT) -> None:
        """Have something arrive, and the loop turn once."""
        self.busy_poll.note(sender)
        self.loop.turn()

    def wait(self, seconds: float) -> None:
        """Let time pass; the loop turns at every step of it for as long as it is awake."""
        end = self.now + seconds
        while self.loop.soon and self.now < end:
            self.now += STEP
            self.loop.turn()
        self.now = end

    def is_awake(self) -> bool:
        """Return whether the loop is kept from sleeping."""
        assert len(self.loop.soon) == self.busy_poll.is_polling
        return self.busy_poll.is_polling

    def lengths(self) -> tuple[float, float]:
        """Return both windows' lengths."""
        client, upstream = self.busy_poll.windows
        return client.length, upstream.length


def practised() -> Desk:
    """Return one that has learnt to poll for as long as it may, and does."""
    desk = Desk()
    for sender in (FROM_CLIENT, FROM_UPSTREAM):
        for _ in range(5):
            desk.arrival(sender)
            desk.wait(JUST_WITHIN)
    assert desk.lengths() == (MOST, MOST)
    return desk


def lengths_after(window: Window, *waits: float) -> Iterator[float]:
    """Return the window's length after each of these waits, all of them slept through."""
    for wait in waits:
        window.missed(wait)
        yield window.length


def wide() -> Window:
    """Return a window of the greatest length."""
    window = Window(MOST)
    while window.length < MOST:
        window.missed(NEAR)
    return window


# The loop


def test_nothing_is_asked_of_the_loop_before_something_arrives() -> None:
    desk = Desk()
    assert not desk.is_awake()
    assert desk.loop.timers == []


def test_the_loop_stays_awake_after_an_arrival_and_sleeps_when_the_window_is_over() -> None:
    desk = practised()
    desk.arrival(FROM_UPSTREAM)
    desk.wait(MOST - STEP)
    assert desk.is_awake()
    desk.wait(STEP)
    assert not desk.is_awake()
    assert desk.loop.timers == []


def test_every_arrival_begins_the_window_anew() -> None:
    desk = practised()
    desk.arrival()
    for sender in (FROM_UPSTREAM, FROM_CLIENT) * 5:
        desk.wait(JUST_WITHIN)
        assert desk.is_awake()
        desk.arrival(sender)
    assert desk.lengths() == (MOST, MOST)


def test_several_arrivals_in_one_turn_ask_the_loop_once() -> None:
    desk = practised()
    desk.wait(MOST)
    assert desk.loop.soon == []
    for _ in range(3):
        desk.busy_poll.note(FROM_UPSTREAM)
        desk.busy_poll.note(FROM_CLIENT)
    assert len(desk.loop.soon) == 1
    desk.loop.turn()
    assert len(desk.loop.soon) == 1


def test_the_window_begins_when_the_arrival_has_been_dealt_with() -> None:
    desk = practised()
    desk.busy_poll.note(FROM_CLIENT)
    desk.now += 2 * MOST
    desk.loop.turn()
    desk.wait(JUST_WITHIN)
    assert desk.is_awake()


def test_without_a_window_an_arrival_costs_one_callback() -> None:
    desk = Desk()
    desk.busy_poll.note(FROM_CLIENT)
    assert len(desk.loop.soon) == 1
    desk.loop.turn()
    assert not desk.is_awake()


# What is learnt


def test_what_comes_soon_is_slept_through_until_the_window_is_long_enough() -> None:
    desk = Desk()
    slept = []
    for _ in range(8):
        desk.arrival(FROM_CLIENT)
        desk.wait(NEAR)
        slept.append(not desk.is_awake())
    # An eighth and a quarter of the most do not reach so far, half of it does.
    assert slept == [True] * 3 + [False] * 5
    assert desk.lengths() == (MOST / 2, 0)


def test_both_sides_are_learnt_apart() -> None:
    desk = Desk()
    for _ in range(10):
        desk.arrival(FROM_CLIENT)
        desk.wait(JUST_WITHIN)
        desk.arrival(FROM_UPSTREAM)
        desk.wait(FAR)
        assert not desk.is_awake()
    assert desk.lengths() == (MOST, 0)


def test_long_waits_end_polling() -> None:
    desk = practised()
    lengths = []
    for _ in range(5):
        desk.arrival(FROM_UPSTREAM)
        desk.wait(FAR)
        lengths.append(desk.lengths()[FROM_UPSTREAM] / MOST)
    assert lengths == [1, 1 / 2, 1 / 4, 1 / 8, 0]


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        pytest.param([NEAR] * 5, [1 / 8, 1 / 4, 1 / 2, 1, 0], id="it grows while waits are short"),
        pytest.param([FAR] * 3, [0, 0, 0], id="it stays away while they are long"),
        pytest.param([NEAR, FAR, NEAR, NEAR, FAR], [1 / 8, 0, 1 / 8, 1 / 4, 1 / 8], id="both"),
        pytest.param([OUT_OF_REACH, MOST + 1.1 * WAKE_UP], [1 / 8, 0], id="a wake-up is allowed"),
    ],
)
def test_a_window_of_waits_that_were_slept_through(
    waits: list[float], expected: list[float]
) -> None:
    lengths = list(lengths_after(Window(MOST), *waits))
    assert lengths == pytest.approx([share * MOST for share in expected])


def test_what_stays_just_out_of_reach_is_tried_less_and_less_often() -> None:
    window = Window(MOST)
    lengths = list(lengths_after(window, *[OUT_OF_REACH] * 2000))
    tries = [at for at, length in enumerate(lengths) if length == MOST]
    pauses = [later - sooner for sooner, later in pairwise(tries)]
    assert pauses[:4] == [6, 8, 12, 20]
    assert pauses[-1] == 260
    assert sum(length > 0 for length in lengths) / len(lengths) < 0.05


def test_polling_that_pays_takes_the_doubts_away() -> None:
    window = wide()
    for _ in range(3):
        list(lengths_after(window, *[OUT_OF_REACH] * 300))
    for _ in range(8):
        window.paid()
    list(lengths_after(window, FAR, FAR, FAR, FAR))
    assert list(lengths_after(window, NEAR)) == [MOST / 8]


def test_waits_just_out_of_reach_hardly_make_the_loop_poll() -> None:
    desk = Desk()
    polled = 0
    for _ in range(300):
        desk.arrival()
        polled += desk.is_awake()
        desk.wait(OUT_OF_REACH)
    assert polled < 40


def test_the_loop_trusts_its_window_again_once_polling_has_paid() -> None:
    desk = Desk()
    for _ in range(300):
        desk.arrival()
        desk.wait(OUT_OF_REACH)
    trusted = []
    for _ in range(300):
        desk.arrival()
        desk.wait(JUST_WITHIN)
        trusted.append(desk.is_awake())
    assert (trusted[0], trusted[-1]) == (False, True)
    for wait in [FAR] * 4 + [NEAR]:
        desk.arrival()
        desk.wait(wait)
    desk.arrival()
    assert desk.lengths() == (MOST / 8, 0)


# Who tells of arrivals


def test_it_is_off_unless_it_is_asked_for() -> None:
    world = World()
    world.ask(head("GET / HTTP/1.1", "Host: a", ROUTE))
    assert world.services.busy_poll is None
    assert world.loop.soon == []


def senders(request: bytes, answer: bytes, *, then: bytes = b"") -> list[int]:
    """Return who has sent something, as noted, at each arrival of a dialogue."""
    world = World(Config(busy_poll=MOST))
    busy_poll = world.services.busy_poll
    assert busy_poll is not None
    busy_poll.sender = NOBODY
    client, upstream = world.ask(request)
    noted = [busy_poll.sender]
    for transport, data in ((upstream, answer), (client, then), (upstream, then)):
        busy_poll.sender = NOBODY
        if data:
            transport.arrives(data)
            noted.append(busy_poll.sender)
    assert busy_poll.is_polling
    assert len(world.loop.soon) == 1
    return noted


def test_a_request_and_its_answer_are_noted() -> None:
    noted = senders(head("GET / HTTP/1.1", "Host: a", ROUTE), head("HTTP/1.1 204 No Content"))
    assert noted == [FROM_CLIENT, FROM_UPSTREAM]


def test_what_flows_through_a_tunnel_is_noted() -> None:
    noted = senders(head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE), b"answer", then=b"more")
    assert noted == [FROM_CLIENT, FROM_UPSTREAM, FROM_CLIENT, FROM_UPSTREAM]
