"""X-Cmux-Hops, the number of proxies that a request has passed through; without sockets."""

import pytest

from cmux_proxy.errors import RouteRefused
from cmux_proxy.relay.loop_detection import HOPS_NAME, check_hops, hop_line
from tests.helpers.fakes import World
from tests.helpers.script import head

PORT = (b"x-cmux-port-internal", b"80")


@pytest.mark.parametrize(
    ("value", "line"), [(b"0", 1), (b"1", 2), (b"5", 6), (b"05", 6), (b"000000004", 5)]
)
def test_the_forwarded_count_is_one_higher(value: bytes, line: int) -> None:
    fields = (PORT, (HOPS_NAME, value))
    check_hops(fields)
    assert hop_line(fields) == b"X-Cmux-Hops: %d\r\n" % line


def test_the_first_proxy_sends_one() -> None:
    check_hops((PORT,))
    assert hop_line(()) == hop_line((PORT,)) == b"X-Cmux-Hops: 1\r\n"


@pytest.mark.parametrize("value", [b"6", b"7", b"10", b"999999999"])
def test_more_than_five_hops_are_a_loop(value: bytes) -> None:
    with pytest.raises(RouteRefused, match="has come through") as caught:
        check_hops(((HOPS_NAME, value),))
    assert (caught.value.status, caught.value.error) == (508, "proxy_loop_detected")


@pytest.mark.parametrize(
    "value",
    [b"", b"-1", b"+1", b"1.0", b"1 2", b"1, 2", b"0x1", b"1_0", b"\xd9\xa1", b"1" * 10, b"a"],
)
def test_a_malformed_count_is_refused(value: bytes) -> None:
    with pytest.raises(RouteRefused) as caught:
        check_hops(((HOPS_NAME, value),))
    assert caught.value.status == 400
    assert caught.value.text == "invalid header: X-Cmux-Hops must be a whole number"


def test_two_counts_are_refused() -> None:
    with pytest.raises(RouteRefused, match="given more than once: X-Cmux-Hops"):
        check_hops(((HOPS_NAME, b"1"), PORT, (HOPS_NAME, b"1")))


def test_a_retried_request_has_the_same_count() -> None:
    world = World()
    request = head("GET / HTTP/1.1", "Host: 80.localhost", "X-Cmux-Hops: 2")
    sent = head("GET / HTTP/1.1", "Host: 80.localhost", "X-Cmux-Hops: 3")
    client, upstream = world.ask(request)
    assert upstream.got == sent
    upstream.arrives(head("HTTP/1.1 204 No Content"))
    client.arrives(request)
    upstream.breaks()
    world.run()
    again = world.dial().succeeds()
    assert upstream.got == sent * 2
    assert again.got == sent
