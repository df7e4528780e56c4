"""Busy polling with a loop and a clock of the test: how long it goes on, and what it learns."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from cmux_proxy import Config
from cmux_proxy.net.busy_poll import FROM_CLIENT, FROM_UPSTREAM, WAKE_UP, BusyPoll, Window
from tests.helpers.fakes import FakeLoop, World
from tests.helpers.script import head

# Powers of two, so that sums of them are exact.
MAX = 2.0**-13
STEP = MAX / 16
NEAR = 6 * STEP
JUST_WITHIN = 15 * STEP
FAR = 1.0
OUT_OF_REACH = MAX + WAKE_UP / 2
NO_SENDER = -1
ROUTE = "X-Cmux-Port-Internal: 80"


class Polled:
    """A BusyPoll, its loop and its clock; nothing has arrived for long."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.now = 0.0
        self.busy_poll = BusyPoll(self.loop, MAX, lambda: self.now)
        self.wait(FAR)

    def arrival(self, sender: int = FROM_CLIENT) -> None:
        """Let something arrive, and the loop turn once."""
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


def practised() -> Polled:
    """Return one that has learnt to poll for as long as it may."""
    polled = Polled()
    for sender in (FROM_CLIENT, FROM_UPSTREAM):
        for _ in range(5):
            polled.arrival(sender)
            polled.wait(JUST_WITHIN)
    assert polled.lengths() == (MAX, MAX)
    return polled


def lengths_after(window: Window, *waits: float) -> Iterator[float]:
    """Return the window's length after each of these waits, during which the loop slept."""
    for wait in waits:
        window.miss(wait)
        yield window.length


def wide() -> Window:
    """Return a window of the maximum length."""
    window = Window(MAX)
    while window.length < MAX:
        window.miss(NEAR)
    return window


# The loop


def test_nothing_is_scheduled_before_something_arrives() -> None:
    polled = Polled()
    assert not polled.is_awake()
    assert polled.loop.timers == []


def test_the_loop_stays_awake_after_an_arrival_and_sleeps_when_the_window_is_over() -> None:
    polled = practised()
    polled.arrival(FROM_UPSTREAM)
    polled.wait(MAX - STEP)
    assert polled.is_awake()
    polled.wait(STEP)
    assert not polled.is_awake()
    assert polled.loop.timers == []


def test_every_arrival_starts_the_window_again() -> None:
    polled = practised()
    polled.arrival()
    for sender in (FROM_UPSTREAM, FROM_CLIENT) * 5:
        polled.wait(JUST_WITHIN)
        assert polled.is_awake()
        polled.arrival(sender)
    assert polled.lengths() == (MAX, MAX)


def test_several_arrivals_in_one_turn_schedule_one_callback() -> None:
    polled = practised()
    polled.wait(MAX)
    assert polled.loop.soon == []
    for _ in range(3):
        polled.busy_poll.note(FROM_UPSTREAM)
        polled.busy_poll.note(FROM_CLIENT)
    assert len(polled.loop.soon) == 1
    polled.loop.turn()
    assert len(polled.loop.soon) == 1


def test_the_window_starts_when_the_arrival_has_been_handled() -> None:
    polled = practised()
    polled.busy_poll.note(FROM_CLIENT)
    polled.now += 2 * MAX
    polled.loop.turn()
    polled.wait(JUST_WITHIN)
    assert polled.is_awake()


def test_without_a_window_an_arrival_costs_one_callback() -> None:
    polled = Polled()
    polled.busy_poll.note(FROM_CLIENT)
    assert len(polled.loop.soon) == 1
    polled.loop.turn()
    assert not polled.is_awake()


# What it learns


def test_the_loop_sleeps_until_the_window_is_long_enough() -> None:
    polled = Polled()
    slept = []
    for _ in range(8):
        polled.arrival(FROM_CLIENT)
        polled.wait(NEAR)
        slept.append(not polled.is_awake())
    # An eighth and a quarter of the maximum are too short, half of it is enough.
    assert slept == [True] * 3 + [False] * 5
    assert polled.lengths() == (MAX / 2, 0)


def test_both_sides_are_learnt_separately() -> None:
    polled = Polled()
    for _ in range(10):
        polled.arrival(FROM_CLIENT)
        polled.wait(JUST_WITHIN)
        polled.arrival(FROM_UPSTREAM)
        polled.wait(FAR)
        assert not polled.is_awake()
    assert polled.lengths() == (MAX, 0)


def test_long_waits_end_polling() -> None:
    polled = practised()
    lengths = []
    for _ in range(5):
        polled.arrival(FROM_UPSTREAM)
        polled.wait(FAR)
        lengths.append(polled.lengths()[FROM_UPSTREAM] / MAX)
    assert lengths == [1, 1 / 2, 1 / 4, 1 / 8, 0]


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        pytest.param([NEAR] * 5, [1 / 8, 1 / 4, 1 / 2, 1, 0], id="it grows while waits are short"),
        pytest.param([FAR] * 3, [0, 0, 0], id="it stays away while they are long"),
        pytest.param([NEAR, FAR, NEAR, NEAR, FAR], [1 / 8, 0, 1 / 8, 1 / 4, 1 / 8], id="both"),
        pytest.param([OUT_OF_REACH, MAX + 1.1 * WAKE_UP], [1 / 8, 0], id="a wake-up is allowed"),
    ],
)
def test_a_window_after_waits_during_which_the_loop_slept(
    waits: list[float], expected: list[float]
) -> None:
    lengths = list(lengths_after(Window(MAX), *waits))
    assert lengths == pytest.approx([share * MAX for share in expected])


def test_a_wait_just_out_of_reach_is_tried_less_and_less_often() -> None:
    window = Window(MAX)
    lengths = list(lengths_after(window, *[OUT_OF_REACH] * 2000))
    tries = [at for at, length in enumerate(lengths) if length == MAX]
    pauses = [later - sooner for sooner, later in pairwise(tries)]
    assert pauses[:4] == [6, 8, 12, 20]
    assert pauses[-1] == 260
    assert sum(length > 0 for length in lengths) / len(lengths) < 0.05


def test_hits_remove_the_doubts() -> None:
    window = wide()
    for _ in range(3):
        list(lengths_after(window, *[OUT_OF_REACH] * 300))
    for _ in range(8):
        window.hit()
    list(lengths_after(window, FAR, FAR, FAR, FAR))
    assert list(lengths_after(window, NEAR)) == [MAX / 8]


def test_waits_just_out_of_reach_hardly_make_the_loop_poll() -> None:
    polled = Polled()
    count = 0
    for _ in range(300):
        polled.arrival()
        count += polled.is_awake()
        polled.wait(OUT_OF_REACH)
    assert count < 40


def test_the_loop_polls_again_after_hits() -> None:
    polled = Polled()
    for _ in range(300):
        polled.arrival()
        polled.wait(OUT_OF_REACH)
    trusted = []
    for _ in range(300):
        polled.arrival()
        polled.wait(JUST_WITHIN)
        trusted.append(polled.is_awake())
    assert (trusted[0], trusted[-1]) == (False, True)
    for wait in [FAR] * 4 + [NEAR]:
        polled.arrival()
        polled.wait(wait)
    polled.arrival()
    assert polled.lengths() == (MAX / 8, 0)


# Which arrivals are noted


def test_it_is_off_by_default() -> None:
    world = World()
    world.ask(head("GET / HTTP/1.1", "Host: a", ROUTE))
    assert world.services.busy_poll is None
    assert world.loop.soon == []


def senders(request: bytes, response: bytes, *, then: bytes = b"") -> list[int]:
    """Return who has sent something, as noted, at each arrival of a dialogue."""
    world = World(Config(busy_poll=MAX))
    busy_poll = world.services.busy_poll
    assert busy_poll is not None
    busy_poll.sender = NO_SENDER
    client, upstream = world.ask(request)
    noted = [busy_poll.sender]
    for transport, data in ((upstream, response), (client, then), (upstream, then)):
        busy_poll.sender = NO_SENDER
        if data:
            transport.arrives(data)
            noted.append(busy_poll.sender)
    assert busy_poll.is_polling
    assert len(world.loop.soon) == 1
    return noted


def test_a_request_and_its_response_are_noted() -> None:
    noted = senders(head("GET / HTTP/1.1", "Host: a", ROUTE), head("HTTP/1.1 204 No Content"))
    assert noted == [FROM_CLIENT, FROM_UPSTREAM]


def test_bytes_of_a_tunnel_are_noted() -> None:
    noted = senders(head("CONNECT a:1 HTTP/1.1", "Host: a", ROUTE), b"response", then=b"more")
    assert noted == [FROM_CLIENT, FROM_UPSTREAM, FROM_CLIENT, FROM_UPSTREAM]
