"""A tunnel inside a WebSocket: bytes, both ends of it, back-pressure, pings, broken rules.

The streams are fakes (`tests/helpers/fakes.py`): no socket, no event loop, no real time.
"""

from collections.abc import Sequence

import pytest
from websockets.frames import Frame, Opcode

from cmux_proxy import Config, Limits, Timeouts
from cmux_proxy.relay.tunnel import Tunnel
from cmux_proxy.relay.websocket_closing import CLOSE_TIMEOUT
from cmux_proxy.relay.websocket_pings import PING_INTERVAL, PONG_TIMEOUT
from tests.helpers.fakes import FakeStream, World
from tests.helpers.tunnel_frames import (
    END,
    V1,
    binary,
    closing,
    frames_of,
    masked,
    offer,
    opened,
    request,
)

PATH = "/.cmux/tcp/80"


def tunnel(world: World, *subprotocols: str) -> tuple[FakeStream, FakeStream]:
    """Return both ends of a new tunnel."""
    client, upstream = world.ask(request(PATH, *([offer(*subprotocols)] if subprotocols else [])))
    assert client.got == opened(subprotocols[0] if subprotocols else "")
    assert upstream.got == b""
    client.got = b""
    return client, upstream


def got(client: FakeStream) -> list[Frame]:
    """Return the frames that a client has got since the last call."""
    frames, client.got = frames_of(bytes(client.got)), b""
    return frames


def is_gone(world: World) -> bool:
    registry = world.services.registry
    return not (registry.tunnels or registry.websockets or registry.lingering or registry.clients)


any_subprotocol = pytest.mark.parametrize(
    "subprotocols", [(), ("binary",), (V1,)], ids=["none", "binary", "v1"]
)


@any_subprotocol
def test_bytes_go_both_ways_in_binary_messages(subprotocols: Sequence[str]) -> None:
    client, upstream = tunnel(World(), *subprotocols)
    client.arrives(binary(b"\x00to the service\r\n") + binary(b"and more"))
    assert upstream.got == b"\x00to the service\r\nand more"
    upstream.arrives(b"HTTP/1.1 200 OK\r\n\r\n\xff")
    assert got(client) == [Frame(Opcode.BINARY, b"HTTP/1.1 200 OK\r\n\r\n\xff")]
    for size in (125, 126, 8192, 8193, 65535, 65536, 200_000):
        upstream.arrives(b"x" * size)
        assert got(client) == [Frame(Opcode.BINARY, b"x" * size)]


def test_a_payload_is_handed_on_before_its_frame_is_whole() -> None:
    client, upstream = tunnel(World())
    data = binary(b"slowly")
    client.arrives(data[:8])
    assert upstream.got == b"sl"
    client.arrives(data[8:])
    assert upstream.got == b"slowly"


def test_many_messages_in_one_read_are_one_write() -> None:
    client, upstream = tunnel(World())
    upstream.stops_reading()
    client.arrives(b"".join([binary(b"%d," % number) for number in range(200)]))
    assert upstream.held == b"".join([b"%d," % number for number in range(200)])
    assert not client.is_reading()


def test_frames_behind_the_request_are_delivered() -> None:
    world = World()
    client = world.client()
    client.arrives(request(PATH, offer(V1)) + binary(b"early") + masked(END))
    upstream = world.dial().succeeds()
    assert client.got == opened(V1)
    assert (upstream.got, upstream.has_sent_end()) == (b"early", True)


# The ends of both halves


def test_a_half_close_is_a_message_and_the_other_half_goes_on() -> None:
    world = World()
    client, upstream = tunnel(world, V1)
    client.arrives(binary(b"last") + masked(END))
    assert (upstream.got, upstream.has_sent_end()) == (b"last", True)
    upstream.arrives(b"still here")
    upstream.ends()
    assert got(client) == [Frame(Opcode.BINARY, b"still here"), END, closing()]
    assert not client.is_over()
    client.arrives(masked(closing()))
    world.run()
    assert client.is_lost()
    assert upstream.is_lost()
    assert not client.was_aborted()
    assert is_gone(world)


def test_the_service_may_end_first() -> None:
    world = World()
    client, upstream = tunnel(world, V1)
    upstream.arrives(b"bye")
    upstream.ends()
    assert got(client) == [Frame(Opcode.BINARY, b"bye"), END]
    client.arrives(binary(b"one more thing"))
    assert upstream.got == b"one more thing"
    client.arrives(masked(END, closing()))
    world.run()
    assert got(client) == [closing()]
    assert upstream.has_sent_end()
    assert not upstream.socket.resets_on_close
    assert is_gone(world)


def test_without_half_close_a_close_follows_all_bytes_of_the_service() -> None:
    world = World()
    client, upstream = tunnel(world)
    client.stops_reading()
    upstream.arrives(b"all of it")
    upstream.ends()
    client.reads_again()
    world.run()
    assert got(client) == [Frame(Opcode.BINARY, b"all of it"), closing()]
    assert not client.is_over()
    # What was on its way is delivered.
    client.arrives(binary(b"crossing") + masked(closing()))
    world.run()
    assert upstream.got == b"crossing"
    assert upstream.has_sent_end()
    assert client.is_lost()
    assert is_gone(world)


@pytest.mark.parametrize("code", [1000, None], ids=["normal", "no code"])
def test_without_half_close_a_close_of_the_client_ends_its_half(code: int | None) -> None:
    world = World()
    client, upstream = tunnel(world, "binary")
    client.arrives(binary(b"question") + masked(closing(code)))
    assert (upstream.got, upstream.has_sent_end()) == (b"question", True)
    upstream.arrives(b"answer")
    upstream.ends()
    world.run()
    assert got(client) == [Frame(Opcode.BINARY, b"answer"), closing()]
    assert client.is_lost()
    assert is_gone(world)


def test_nothing_is_sent_behind_our_close() -> None:
    world = World()
    client, upstream = tunnel(world)
    upstream.ends()
    assert got(client) == [closing()]
    client.arrives(masked(Frame(Opcode.PING, b"?")) + binary(b"x") + masked(closing()))
    world.run()
    assert got(client) == []
    assert upstream.got == b"x"


def test_with_half_close_a_close_ends_both_halves() -> None:
    world = World()
    client, upstream = tunnel(world, V1)
    client.arrives(binary(b"x") + masked(closing()))
    world.run()
    assert got(client) == [closing()]
    assert upstream.got == b"x"
    assert upstream.is_lost()
    assert not upstream.socket.resets_on_close
    assert is_gone(world)


@any_subprotocol
@pytest.mark.parametrize("code", [1001, 1011, 3000])
def test_a_close_with_another_code_resets_the_service(
    subprotocols: Sequence[str], code: int
) -> None:
    world = World()
    client, upstream = tunnel(world, *subprotocols)
    client.arrives(masked(closing(code)))
    world.run()
    assert got(client) == [closing(code)]
    assert upstream.socket.resets_on_close
    assert not upstream.has_sent_end()
    assert is_gone(world)


@any_subprotocol
def test_an_end_without_a_close_resets_the_service(subprotocols: Sequence[str]) -> None:
    world = World()
    client, upstream = tunnel(world, *subprotocols)
    client.arrives(binary(b"half a file"))
    client.ends()
    world.run()
    assert upstream.got == b"half a file"
    assert not upstream.has_sent_end()
    assert upstream.socket.resets_on_close
    assert is_gone(world)


def test_a_client_that_has_ended_before_the_tunnel_opens_has_no_frames() -> None:
    world = World()
    client = world.client()
    client.arrives(request(PATH))
    client.ends()
    upstream = world.dial().succeeds()
    world.run()
    assert client.got == opened()
    assert upstream.socket.resets_on_close
    assert client.is_lost()
    assert is_gone(world)


def test_a_client_may_end_its_connection_behind_its_half_close() -> None:
    world = World()
    client, upstream = tunnel(world, V1)
    client.arrives(masked(END))
    client.ends()
    upstream.arrives(b"rest")
    assert got(client) == [Frame(Opcode.BINARY, b"rest")]
    upstream.ends()
    world.run()
    assert got(client) == [END, closing()]
    world.walk(CLOSE_TIMEOUT + 1)
    world.run()
    assert is_gone(world)


@pytest.mark.parametrize("subprotocols", [(), (V1,)], ids=["none", "v1"])
def test_resets_pass_in_both_directions(subprotocols: Sequence[str]) -> None:
    world = World()
    client, upstream = tunnel(world, *subprotocols)
    upstream.breaks()
    world.run()
    # No Close frame: the client cannot take it for an end.
    assert got(client) == []
    assert client.socket.resets_on_close
    assert client.is_lost()
    client, upstream = tunnel(world, *subprotocols)
    client.breaks()
    world.run()
    assert upstream.socket.resets_on_close
    assert is_gone(world)


def test_a_client_that_does_not_answer_a_close_is_closed() -> None:
    world = World()
    client, upstream = tunnel(world)
    upstream.ends()
    world.walk(CLOSE_TIMEOUT - 1)
    assert not client.is_over()
    world.walk(2)
    world.run()
    assert client.is_lost()
    assert not client.was_aborted()
    # It has not said that it has sent everything.
    assert upstream.socket.resets_on_close
    assert is_gone(world)


def test_a_client_that_reads_slowly_gets_everything_before_the_close() -> None:
    world = World()
    client, upstream = tunnel(world, V1)
    client.arrives(masked(END))
    client.stops_reading()
    # The end is not read before there is room for it.
    upstream.arrives(b"12345")
    upstream.ends()
    client.reads_again()
    client.stops_reading()
    world.run()
    assert len(client.held) == len(END.serialize(mask=False) + closing().serialize(mask=False))
    for _ in range(5):
        client.reads_a_little()
        world.walk(CLOSE_TIMEOUT)
        world.walk(CLOSE_TIMEOUT / 2)
        assert not client.was_aborted()
    world.walk(CLOSE_TIMEOUT)
    world.run()
    assert client.was_aborted()
    assert is_gone(world)


# Broken rules


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(masked(Frame(Opcode.TEXT, b"G")), 1003, id="text"),
        pytest.param(b"\x82\xff" + (2**24 + 1).to_bytes(8, "big") + bytes(4), 1009, id="too long"),
        pytest.param(b"\x82\x00", 1002, id="not masked"),
    ],
)
def test_a_broken_rule_closes_with_its_code_and_resets_the_service(data: bytes, code: int) -> None:
    world = World()
    client, upstream = tunnel(world, V1)
    client.arrives(binary(b"before") + data)
    [close] = got(client)
    assert close.opcode is Opcode.CLOSE
    assert int.from_bytes(close.data[:2], "big") == code
    assert len(close.data) > 10
    world.run()
    assert upstream.got == b"before"
    assert upstream.socket.resets_on_close
    # The client can read why, and end.
    assert client.has_sent_end()
    assert not client.is_over()
    client.arrives(b"anything")
    client.ends()
    world.run()
    assert client.is_lost()
    assert not client.was_aborted()
    assert is_gone(world)


def test_a_client_that_stays_after_a_broken_rule_is_closed_soon() -> None:
    world = World(Config(timeouts=Timeouts(linger=3)))
    client, _upstream = tunnel(world)
    client.arrives(b"\xff\xff")
    world.run()
    assert not world.services.registry.tunnels
    assert world.services.registry.count() == 1
    world.walk(4)
    world.run()
    assert client.is_lost()
    assert is_gone(world)


def test_a_client_that_stays_after_a_broken_rule_does_not_hold_up_the_end() -> None:
    world = World()
    client, _upstream = tunnel(world)
    client.arrives(b"\xff\xff")
    world.run()
    for timed in world.services.registry.everyone():
        timed.abort()
    world.run()
    assert client.was_aborted()
    assert is_gone(world)


# Back-pressure


def test_a_client_that_stops_reading_pauses_the_service_after_one_write() -> None:
    world = World()
    client, upstream = tunnel(world)
    client.stops_reading()
    upstream.arrives(b"first")
    assert not upstream.is_reading()
    upstream.arrives(b"second")
    assert len(client.held) == 2 + len(b"first")
    client.reads_again()
    world.run()
    assert [frame.data for frame in got(client)] == [b"first", b"second"]
    assert upstream.is_reading()


def test_a_service_that_stops_reading_pauses_the_client() -> None:
    world = World()
    client, upstream = tunnel(world)
    upstream.stops_reading()
    client.arrives(binary(b"first"))
    assert not client.is_reading()
    client.arrives(binary(b"second"))
    assert upstream.held == b"first"
    upstream.reads_again()
    world.run()
    assert upstream.got == b"firstsecond"


def test_frames_are_read_behind_a_half_close_while_the_service_does_not_read() -> None:
    world = World()
    client, upstream = tunnel(world, V1)
    upstream.stops_reading()
    client.arrives(binary(b"much") + masked(END))
    world.run()
    client.arrives(masked(Frame(Opcode.PING, b"?")))
    assert got(client) == [Frame(Opcode.PONG, b"?")]
    upstream.reads_again()
    world.run()
    assert client.is_reading()
    client.arrives(masked(Frame(Opcode.PING, b"!")))
    assert got(client) == [Frame(Opcode.PONG, b"!")]


def test_pieces_are_one_message_and_nothing_is_none() -> None:
    world = World()
    client, _upstream = tunnel(world)
    [timed] = world.services.registry.tunnels
    assert isinstance(timed, Tunnel)
    stream = timed.client.transport
    stream.writelines([b"one", b"", b"two"])
    stream.write(b"")
    assert got(client) == [Frame(Opcode.BINARY, b"onetwo")]
    assert stream.can_write_eof()
    assert stream.get_protocol() is timed.client
    stream.write_eof()
    # Nothing follows the end.
    stream.write(b"late")
    stream.write_eof()
    assert got(client) == [closing()]


def test_a_write_buffer_limit_is_that_of_the_stream_beneath() -> None:
    world = World()
    client, upstream = tunnel(world)
    [timed] = world.services.registry.tunnels
    assert isinstance(timed, Tunnel)
    timed.client.transport.set_write_buffer_limits(high=10)
    client.stops_reading()
    upstream.arrives(b"12345678")
    assert upstream.is_reading()
    upstream.arrives(b"9")
    assert not upstream.is_reading()


def test_a_pause_behind_the_end_of_the_client_stops_no_frames() -> None:
    world = World()
    client, _upstream = tunnel(world, V1)
    [timed] = world.services.registry.tunnels
    assert isinstance(timed, Tunnel)
    stream = timed.client.transport
    stream.pause_reading()
    assert not client.is_reading()
    stream.resume_reading()
    client.arrives(masked(END))
    stream.pause_reading()
    assert client.is_reading()


def test_pings_of_a_client_that_does_not_read_do_not_pile_up() -> None:
    world = World()
    client, upstream = tunnel(world)
    client.stops_reading()
    upstream.arrives(b"x")
    for number in range(1000):
        client.arrives(masked(Frame(Opcode.PING, b"%d" % number)))
    assert len(client.held) == 3
    client.reads_again()
    world.run()
    assert got(client) == [Frame(Opcode.BINARY, b"x"), Frame(Opcode.PONG, b"999")]
    upstream.arrives(b"y")
    assert got(client) == [Frame(Opcode.BINARY, b"y")]


def test_a_pong_that_is_not_taken_keeps_the_service_paused() -> None:
    world = World()
    client, upstream = tunnel(world)
    client.stops_reading()
    upstream.arrives(b"x")
    client.arrives(masked(Frame(Opcode.PING, b"?")))
    client.reads_what_waits()
    assert len(client.held) == 3
    assert not upstream.is_reading()
    client.reads_what_waits()
    assert upstream.is_reading()


# Pings


def test_a_ping_of_the_client_is_answered() -> None:
    client, _upstream = tunnel(World())
    client.arrives(masked(Frame(Opcode.PING, b"1"), Frame(Opcode.PING, b"a" * 125)))
    assert got(client) == [Frame(Opcode.PONG, b"a" * 125)]


PING = Frame(Opcode.PING, b"")
PONG = masked(Frame(Opcode.PONG, b""))


def test_a_silent_client_is_pinged_and_stays_while_it_answers() -> None:
    world = World()
    client, upstream = tunnel(world)
    world.walk(PING_INTERVAL - 1)
    assert got(client) == []
    world.walk(1)
    assert got(client) == [PING]
    for _ in range(5):
        client.arrives(PONG)
        world.walk(PING_INTERVAL)
        assert got(client) == [PING]
    assert not upstream.is_over()


def test_a_missing_pong_ends_the_tunnel_with_a_reset() -> None:
    world = World()
    client, upstream = tunnel(world)
    world.walk(PING_INTERVAL)
    world.walk(PONG_TIMEOUT - 1)
    assert not client.is_over()
    world.walk(1)
    world.run()
    assert client.was_aborted()
    assert upstream.socket.resets_on_close
    assert is_gone(world)


def test_there_is_no_ping_while_bytes_move_in_both_directions() -> None:
    world = World()
    client, upstream = tunnel(world)
    for _ in range(9):
        client.arrives(binary(b"x"))
        upstream.arrives(b"y")
        assert got(client) == [Frame(Opcode.BINARY, b"y")]
        world.walk(PING_INTERVAL - 5)
        assert got(client) == []


@pytest.mark.parametrize("up", [True, False], ids=["up", "down"])
def test_there_are_pings_while_bytes_move_in_one_direction_only(up: bool) -> None:
    world = World()
    client, upstream = tunnel(world)
    pings = 0
    for _ in range(8):
        if up:
            client.arrives(binary(b"x"))
        else:
            upstream.arrives(b"y")
        world.walk(PING_INTERVAL / 2)
        if PING in got(client):
            pings += 1
            client.arrives(PONG)
    assert pings in (3, 4)
    assert not client.is_over()


def test_bytes_count_as_a_sign_of_life() -> None:
    world = World()
    client, _upstream = tunnel(world)
    world.walk(PING_INTERVAL)
    client.arrives(binary(b"x"))
    world.walk(PONG_TIMEOUT)
    world.run()
    assert not client.is_over()


def test_a_client_that_has_stopped_reading_is_not_given_up() -> None:
    world = World()
    client, upstream = tunnel(world)
    client.stops_reading()
    upstream.arrives(b"x" * 100_000)
    for _ in range(9):
        world.walk(PING_INTERVAL)
    assert len(client.held) == 100_010
    assert not client.is_over()
    client.reads_again()
    assert got(client) == [Frame(Opcode.BINARY, b"x" * 100_000)]


def test_a_client_that_may_have_much_to_read_is_pinged_and_not_given_up() -> None:
    world = World()
    client, upstream = tunnel(world)
    upstream.arrives(b"x" * 100_000)
    client.got = b""
    for _ in range(9):
        world.walk(PING_INTERVAL)
        assert got(client) == [PING]
    # Its pong says that it has read everything.
    client.arrives(PONG)
    world.walk(PING_INTERVAL)
    world.walk(PONG_TIMEOUT)
    assert client.was_aborted()


def test_a_client_that_is_not_read_is_not_given_up() -> None:
    world = World()
    client, upstream = tunnel(world)
    upstream.stops_reading()
    client.arrives(binary(b"x"))
    assert not client.is_reading()
    for _ in range(9):
        world.walk(PING_INTERVAL)
        client.arrives(PONG)
    assert not client.is_over()
    # Its pongs are read only now, and a tick may come before that.
    world.walk(PONG_TIMEOUT - 0.5)
    upstream.reads_again()
    world.walk(0.5)
    assert not client.is_over()
    world.run()
    world.walk(PING_INTERVAL)
    assert not client.is_over()


# The rest


def test_an_abort_drops_both_sides() -> None:
    world = World()
    client, upstream = tunnel(world)
    [timed] = world.services.registry.tunnels
    timed.drain()
    assert not client.is_over()
    timed.abort()
    world.run()
    assert (client.was_aborted(), upstream.was_aborted()) == (True, True)
    assert is_gone(world)


def test_the_tunnel_timeout_counts_bytes_and_not_pings() -> None:
    world = World(Config(timeouts=Timeouts(tunnel=50)))
    client, upstream = tunnel(world)
    for _ in range(3):
        world.walk(PING_INTERVAL)
        client.arrives(PONG)
    world.run()
    assert client.was_aborted()
    assert upstream.was_aborted()


def test_a_client_makes_room_for_others_of_its_address_when_it_is_gone() -> None:
    world = World(Config(limits=Limits(clients_per_address=1)))
    world.peer = "10.0.0.1"
    client, upstream = tunnel(world, V1)
    client.arrives(masked(END))
    upstream.ends()
    refused = world.client()
    assert b" 503 " in refused.got
    client.arrives(masked(closing()))
    world.run()
    assert client.is_lost()
    tunnel(world)
