"""A client's connection: what it buffers, when it reads, and when it closes; without sockets."""

import pytest

from cmux_proxy import Config, Timeouts
from cmux_proxy.net.timers import Unread
from cmux_proxy.relay.downstream import PIPELINE_LIMIT
from tests.helpers.fakes import World, statuses
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET / HTTP/1.1", "Host: a", ROUTE)
SENT = head("GET / HTTP/1.1", "Host: a")
REFUSED = head("GET / HTTP/1.1", "Host: a")
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
TIMES = Config(timeouts=Timeouts(head=10, idle=20))


def test_reads_are_limited_and_at_most_one_write_is_buffered() -> None:
    client = World().client()
    assert client.max_size == 256 * 1024 - PIPELINE_LIMIT
    client.stops_reading()
    client.arrives(REFUSED + REFUSED)
    # The first response is not sent yet, so the second request does not start.
    assert client.held.count(b"HTTP/1.1 400 ") == 1
    client.reads_again()
    assert statuses(client) == [400, 400]


def test_a_client_that_reads_nothing_is_not_read() -> None:
    world = World()
    client = world.client()
    client.stops_reading()
    client.arrives(REFUSED * 2)
    assert not client.is_reading()
    client.reads_again()
    world.run()
    assert client.is_reading()
    client.arrives(REFUSED)
    assert statuses(client) == [400] * 3


def test_many_pipelined_bytes_pause_reading_until_they_are_served() -> None:
    world = World()
    client, upstream = world.ask(GET)
    client.arrives(GET * 100)
    assert not client.is_reading()
    for _ in range(101):
        upstream.arrives(OK)
    world.run()
    assert statuses(client) == [200] * 101
    assert upstream.got == SENT * 101
    assert client.is_reading()


def test_a_few_pipelined_bytes_do_not_pause_reading() -> None:
    client, upstream = World().ask(GET)
    client.arrives(GET)
    assert client.is_reading()
    assert upstream.got == SENT
    upstream.arrives(OK)
    assert upstream.got == SENT + SENT


def test_a_client_that_stops_reading_pauses_its_upstream() -> None:
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


def test_a_client_that_does_not_read_its_responses_is_closed_by_the_idle_timeout() -> None:
    world = World(TIMES)
    client = world.client()
    client.stops_reading()
    client.arrives(REFUSED * 2)
    world.walk(20)
    assert client.was_aborted()


def test_a_client_that_reads_its_responses_slowly_is_not_idle() -> None:
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
def test_a_client_that_does_not_read_its_last_response_is_dropped(slowly: bool) -> None:
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


def test_a_half_closed_client_that_does_not_read_its_response_is_dropped() -> None:
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


def test_an_end_before_any_request_closes() -> None:
    client = World().client()
    client.ends()
    assert client.is_over()
    assert not client.was_aborted()


def test_after_an_end_buffered_responses_are_still_sent() -> None:
    world = World()
    client = world.client()
    client.stops_reading()
    client.arrives(REFUSED)
    client.arrives(REFUSED + b"GET ")
    assert not client.is_reading()
    client.ends()
    client.reads_again()
    world.run()
    assert statuses(client) == [400, 400]
    assert client.is_over()


def test_a_half_closed_client_gets_its_response() -> None:
    world = World()
    client, upstream = world.ask(GET)
    client.ends()
    assert upstream.has_sent_end()
    upstream.arrives(OK)
    world.run()
    assert client.got == OK
    assert client.is_lost()
    assert upstream.is_lost()


def test_a_second_report_of_the_end_changes_nothing() -> None:
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


def test_a_connection_that_is_lost_while_idle_is_forgotten() -> None:
    world = World()
    client = world.client()
    client.breaks()
    world.run()
    assert not world.services.registry.clients


def test_a_drain_closes_idle_connections_and_no_others() -> None:
    world = World()
    idle, started = world.client(), world.client()
    started.arrives(b"GET ")
    waiting, _upstream = world.ask(GET)
    world.services.ticker.walk(world.services.ticker.now + 2)
    used, upstream = world.ask(GET)
    upstream.arrives(OK)
    new = world.client()
    clients = (idle, started, waiting, used, new)
    for timed in list(world.services.registry.clients):
        timed.drain()
    assert [client.is_over() for client in clients] == [True, False, False, False, False]
    world.services.registry.is_refusing = True
    for timed in list(world.services.registry.clients):
        timed.drain()
    assert [client.is_over() for client in clients] == [True, False, False, True, True]


def test_without_an_idle_timeout_every_idle_client_counts_as_recently_used() -> None:
    world = World(Config(timeouts=Timeouts(idle=None)))
    client = world.client()
    world.services.ticker.walk(world.services.ticker.now + 100)
    for is_over in (False, True):
        world.services.registry.is_refusing = is_over
        for timed in list(world.services.registry.clients):
            timed.drain()
        assert client.is_over() is is_over


def test_a_connection_that_is_accepted_when_requests_are_refused_is_closed() -> None:
    world = World()
    world.services.registry.is_draining = world.services.registry.is_refusing = True
    assert world.client().is_over()


def test_a_request_at_the_beginning_of_a_drain_is_served_and_is_the_last() -> None:
    world = World()
    world.services.registry.is_draining = True
    client, upstream = world.ask(GET)
    upstream.arrives(OK)
    assert statuses(client) == [200]
    assert b"\r\nConnection: close\r\n" in client.got
    assert client.is_over()


def test_a_request_during_a_drain_gets_503() -> None:
    world = World()
    client = world.client()
    client.arrives(GET[:-1])
    world.services.registry.is_draining = world.services.registry.is_refusing = True
    client.arrives(GET[-1:])
    assert statuses(client) == [503]
    assert b"Retry-After: 1\r\n" in client.got
    assert client.has_sent_end()


def test_a_response_that_ends_during_a_drain_closes_even_without_connection_close() -> None:
    world = World()
    client, upstream = world.ask(GET)
    upstream.arrives(OK[:-1])
    world.services.registry.is_draining = True
    upstream.arrives(OK[-1:])
    assert client.got == OK
    assert client.is_over()


def test_a_close_with_unread_bytes_lingers() -> None:
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


def test_a_close_without_unread_bytes_does_not_linger() -> None:
    world = World()
    client, upstream = world.ask(head("GET / HTTP/1.1", "Host: a", ROUTE, "Connection: close"))
    upstream.arrives(head("HTTP/1.1 204 No Content"))
    world.run()
    assert client.is_lost()
    assert not client.was_aborted()


def test_body_bytes_that_arrive_during_the_dial_are_forwarded() -> None:
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


def test_bytes_after_a_body_that_arrived_during_the_dial_wait() -> None:
    world = World()
    client = world.client()
    client.arrives(head("POST / HTTP/1.1", "Host: a", ROUTE, "Content-Length: 4"))
    client.arrives(b"body" + REFUSED)
    upstream = world.dial().succeeds()
    assert upstream.got.endswith(b"\r\n\r\nbody")
    assert client.got == b""
    upstream.arrives(OK)
    assert statuses(client) == [200, 400]


def test_many_bytes_after_a_body_pause_reading() -> None:
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


def test_a_client_that_leaves_while_it_is_not_read_is_aborted_with_its_upstream() -> None:
    world = World()
    client, upstream = world.ask(GET)
    [timed] = world.services.registry.clients
    unread: list[Unread] = []
    timed.add_unread(unread)
    assert not unread
    client.arrives(GET * 100)
    timed.add_unread(unread)
    [connection] = unread
    assert connection.transport is client
    connection.on_peer_left()
    world.run()
    assert client.was_aborted()
    assert upstream.is_lost()
