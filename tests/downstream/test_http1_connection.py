"""One client's connection: what waits, what is read, and when it closes; without sockets."""

import pytest

from cmux_proxy import Config, Timeouts
from cmux_proxy.relay.downstream import PIPELINE_LIMIT
from tests.helpers.fakes import FakeStream, World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
SENT = head("GET / HTTP/1.1", "Host: a")
REFUSED = head("GET / HTTP/1.1", "Host: a")
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
TIMES = Config(timeouts=Timeouts(head=10, idle=20))


def answers(client: FakeStream) -> list[int]:
    """Return the status codes that a client has got."""
    return [int(line[:3]) for line in bytes(client.got).split(b"HTTP/1.1 ")[1:]]


def test_a_client_is_read_in_measured_pieces_and_holds_back_one_write() -> None:
    client = World().client()
    assert client.max_size == 256 * 1024 - PIPELINE_LIMIT
    client.stops_reading()
    client.arrives(REFUSED + REFUSED)
    # The first answer does not leave, so the second request is not even begun.
    assert client.held.count(b"HTTP/1.1 400 ") == 1
    client.reads_again()
    assert answers(client) == [400, 400]


def test_a_client_that_reads_nothing_is_read_no_more() -> None:
    world = World()
    client = world.client()
    client.stops_reading()
    client.arrives(REFUSED * 2)
    assert not client.is_reading()
    client.reads_again()
    world.run()
    assert client.is_reading()
    client.arrives(REFUSED)
    assert answers(client) == [400] * 3


def test_many_early_bytes_stop_the_reading_until_their_turn_comes() -> None:
    world = World()
    client, upstream = world.ask(GET)
    client.arrives(GET * 100)
    assert not client.is_reading()
    for _ in range(101):
        upstream.arrives(OK)
    world.run()
    assert answers(client) == [200] * 101
    assert upstream.got == SENT * 101
    assert client.is_reading()


def test_a_few_early_bytes_do_not() -> None:
    client, upstream = World().ask(GET)
    client.arrives(GET)
    assert client.is_reading()
    assert upstream.got == SENT
    upstream.arrives(OK)
    assert upstream.got == SENT + SENT


def test_a_client_that_stops_reading_stops_its_upstream() -> None:
    world = World()
    client, upstream = world.ask(GET)
    client.stops_reading()
    upstream.arrives(OK[:-2])
    assert not upstream.is_reading()
    client.reads_again()
    world.run()
    assert upstream.is_reading()
    upstream.arrives(OK[-2:])
    assert client.got == OK


@pytest.mark.parametrize("part", [b"G", GET[:-1]], ids=["one byte", "all but one"])
def test_an_unfinished_head_gets_408(part: bytes) -> None:
    world = World(TIMES)
    client = world.client()
    world.walk(5)
    client.arrives(part)
    world.walk(9)
    assert client.got == b""
    world.walk(1)
    assert answers(client) == [408]
    assert client.has_sent_end()


def test_the_deadline_of_a_head_is_not_moved_by_more_of_it() -> None:
    world = World(TIMES)
    client = world.client()
    for _ in range(3):
        client.arrives(b"G")
        world.walk(4)
    assert answers(client) == [408]


def test_empty_lines_do_not_keep_a_connection_open() -> None:
    world = World(TIMES)
    client = world.client()
    for _ in range(6):
        client.arrives(b"\r\n")
        world.walk(4)
    assert client.is_over()


def test_a_head_that_came_in_time_has_no_deadline_any_more() -> None:
    world = World(TIMES)
    client = world.client()
    client.arrives(GET[:5])
    world.walk(9)
    client.arrives(GET[5:])
    world.walk(4)
    world.dial().succeeds().arrives(OK)
    assert client.got == OK
    world.walk(19)
    assert not client.is_over()
    world.walk(1)
    assert client.is_over()
    assert client.got == OK


def test_a_client_that_does_not_read_its_answers_is_dropped_when_idle_for_too_long() -> None:
    world = World(TIMES)
    client = world.client()
    client.stops_reading()
    client.arrives(REFUSED * 2)
    world.walk(20)
    assert client.was_aborted()


def test_a_client_that_reads_its_answers_slowly_is_not_idle() -> None:
    world = World(TIMES)
    client = world.client()
    client.stops_reading()
    client.arrives(REFUSED * 2)
    for _ in range(5):
        client.reads_a_little()
        world.walk(20)
        assert not client.is_over()
    world.walk(20)
    assert client.was_aborted()


@pytest.mark.parametrize("slowly", [True, False])
def test_a_client_that_does_not_read_its_last_answer_is_dropped_in_the_end(slowly: bool) -> None:
    world = World(TIMES)
    route = "X-Cmux-Port-Internal: 80"
    client, upstream = world.ask(head("GET / HTTP/1.1", "Host: a", route, "Connection: close"))
    client.stops_reading()
    upstream.arrives(head("HTTP/1.1 200 OK", "Content-Length: 9") + b"012345678")
    assert client.is_over()
    if slowly:
        for _ in range(5):
            client.reads_a_little()
            world.walk(20)
        assert not client.was_aborted()
    world.walk(20)
    world.run()
    assert client.was_aborted()
    assert not world.services.registry.clients


def test_a_client_that_has_ended_and_does_not_read_its_answer_is_dropped_in_the_end() -> None:
    world = World(TIMES)
    client, upstream = world.ask(GET)
    client.stops_reading()
    client.ends()
    upstream.arrives(OK)
    assert client.is_over()
    assert not client.was_aborted()
    world.walk(20)
    world.run()
    assert client.was_aborted()
    assert not world.services.registry.clients


def test_no_deadline_is_set_where_none_is_wanted() -> None:
    world = World(Config(timeouts=Timeouts(head=None, idle=None)))
    client, other = world.client(), world.client()
    client.arrives(b"GET ")
    world.walk(1e9)
    assert not client.is_over()
    assert not other.is_over()


def test_an_end_before_any_request_closes() -> None:
    client = World().client()
    client.ends()
    assert client.is_over()
    assert not client.was_aborted()


def test_an_end_amid_a_head_closes() -> None:
    client = World().client()
    client.arrives(GET[:-1])
    client.ends()
    assert client.is_over()
    assert client.got == b""


def test_an_end_while_answers_wait_to_be_read_lets_them_be_read() -> None:
    world = World()
    client = world.client()
    client.stops_reading()
    client.arrives(REFUSED)
    client.arrives(REFUSED + b"GET ")
    assert not client.is_reading()
    client.ends()
    client.reads_again()
    world.run()
    assert answers(client) == [400, 400]
    assert client.is_over()


def test_an_end_behind_a_request_leaves_room_for_its_answer() -> None:
    world = World()
    client, upstream = world.ask(GET)
    client.ends()
    assert upstream.has_sent_end()
    upstream.arrives(OK)
    world.run()
    assert client.got == OK
    assert client.is_lost()
    assert upstream.is_lost()


def test_an_end_that_is_told_again_means_nothing_new() -> None:
    world = World()
    client, upstream = world.ask(GET)
    client.ends()
    upstream.arrives(OK[:-1])
    client.stops_reading()
    client.reads_again()
    client.owner.eof_received()
    assert not client.is_over()
    upstream.arrives(OK[-1:])
    assert client.got == OK


def test_a_loss_while_idle_is_forgotten() -> None:
    world = World()
    client = world.client()
    client.breaks()
    world.run()
    assert not world.services.registry.clients


def test_a_drain_closes_what_is_idle_and_nothing_else() -> None:
    world = World()
    old, begun = world.client(), world.client()
    begun.arrives(b"GET ")
    asked, _upstream = world.ask(GET)
    world.services.ticker.walk(world.services.ticker.now + 2)
    used, upstream = world.ask(GET)
    upstream.arrives(OK)
    new = world.client()
    clients = (old, begun, asked, used, new)
    for timed in list(world.services.registry.clients):
        timed.drain()
    assert [client.is_over() for client in clients] == [True, False, False, False, False]
    world.services.registry.is_refusing = True
    for timed in list(world.services.registry.clients):
        timed.drain()
    assert [client.is_over() for client in clients] == [True, False, False, True, True]


def test_without_an_idle_timeout_everybody_may_have_been_there_a_moment_ago() -> None:
    world = World(Config(timeouts=Timeouts(idle=None)))
    client = world.client()
    world.services.ticker.walk(world.services.ticker.now + 100)
    for is_over in (False, True):
        world.services.registry.is_refusing = is_over
        for timed in list(world.services.registry.clients):
            timed.drain()
        assert client.is_over() is is_over


def test_whoever_is_accepted_once_requests_are_refused_is_closed() -> None:
    world = World()
    world.services.registry.is_draining = world.services.registry.is_refusing = True
    assert world.client().is_over()


def test_a_request_at_the_beginning_of_a_drain_is_served_and_the_last() -> None:
    world = World()
    world.services.registry.is_draining = True
    client, upstream = world.ask(GET)
    upstream.arrives(OK)
    assert answers(client) == [200]
    assert b"\r\nConnection: close\r\n" in client.got
    assert client.is_over()


def test_a_request_during_a_drain_gets_503() -> None:
    world = World()
    client = world.client()
    client.arrives(GET[:-1])
    world.services.registry.is_draining = world.services.registry.is_refusing = True
    client.arrives(GET[-1:])
    assert answers(client) == [503]
    assert b"Retry-After: 1\r\n" in client.got
    assert client.has_sent_end()


def test_an_answer_during_a_drain_closes_even_if_it_did_not_say_so() -> None:
    world = World()
    client, upstream = world.ask(GET)
    upstream.arrives(OK[:-1])
    world.services.registry.is_draining = True
    upstream.arrives(OK[-1:])
    assert client.got == OK
    assert client.is_over()


def test_a_connection_that_closes_with_bytes_unread_lingers() -> None:
    world = World()
    client, upstream = world.ask(
        head("GET / HTTP/1.1", "Host: a", ROUTE, "Connection: close") + b"and more"
    )
    upstream.arrives(head("HTTP/1.1 204 No Content"))
    world.run()
    assert client.has_sent_end()
    assert not client.is_over()
    client.arrives(b"and more still")
    client.ends()
    world.run()
    assert client.is_lost()


def test_a_connection_that_closes_with_nothing_unread_closes() -> None:
    world = World()
    client, upstream = world.ask(head("GET / HTTP/1.1", "Host: a", ROUTE, "Connection: close"))
    upstream.arrives(head("HTTP/1.1 204 No Content"))
    world.run()
    assert client.is_lost()
    assert not client.was_aborted()


def test_a_body_that_came_while_dialling_is_handed_over() -> None:
    world = World()
    client = world.client()
    client.arrives(head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 10000") + b"0" * 1000)
    client.arrives(b"1" * 8000)
    assert not client.is_reading()
    upstream = world.dial().succeeds()
    world.run()
    assert client.is_reading()
    client.arrives(b"2" * 1000 + GET)
    assert upstream.got.endswith(b"\r\n\r\n" + b"0" * 1000 + b"1" * 8000 + b"2" * 1000)
    upstream.arrives(OK)
    assert upstream.got.endswith(SENT)


def test_whatever_lies_behind_a_body_that_came_while_dialling_waits() -> None:
    world = World()
    client = world.client()
    client.arrives(head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4"))
    client.arrives(b"body" + REFUSED)
    upstream = world.dial().succeeds()
    assert upstream.got.endswith(b"\r\n\r\nbody")
    assert client.got == b""
    upstream.arrives(OK)
    assert answers(client) == [200, 400]


def test_much_that_lies_behind_a_body_is_not_added_to() -> None:
    world = World()
    client = world.client()
    client.arrives(head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4"))
    client.arrives(b"body" + REFUSED * 3000)
    world.dial().succeeds()
    world.run()
    assert not client.is_reading()


def test_an_abort_drops_the_client_and_its_upstream() -> None:
    world = World()
    client, upstream = world.ask(GET)
    [timed] = world.services.registry.clients
    timed.abort()
    world.run()
    assert client.was_aborted()
    assert upstream.was_aborted()
