"""A slot and what writes its frames; without sockets."""

from typing import Any, cast

import pytest

from cmux_proxy._build import COMPILED
from cmux_proxy.http1.chunked_body import ChunkRules
from cmux_proxy.http2.http2_stream import Http2Stream
from cmux_proxy.upstream.connection import UpstreamConnection
from cmux_proxy.upstream.frame_sender import FrameSender
from cmux_proxy.upstream.http2_slot import Http2Slot
from cmux_proxy.upstream.slot_carrier import SlotCarrier
from tests.helpers.fakes import FakeLoop

pytestmark = pytest.mark.skipif(
    COMPILED, reason="compiled slots take compiled connections alone; tests/network has those"
)


class Calls:
    """Notes calls of any method; `answers` has what they return."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers = answers

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            return self.answers.get(name)

        return call


class Carrier(Calls):
    """A connection whose core and transport note what is called."""

    def __init__(self) -> None:
        super().__init__(open_stream=Http2Stream(1, 1, 1))
        self.core = Calls()
        self.loop = FakeLoop()
        self.transport = Calls(get_extra_info="of the transport")
        self.chunk_rules = ChunkRules(100, 100, 100, b"")


def slot_of(carrier: Carrier, connection: Any = None) -> Http2Slot:
    return Http2Slot(cast(SlotCarrier, carrier), cast(UpstreamConnection, connection or Calls()))


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


def test_a_request_without_a_body_ends_with_its_head() -> None:
    for more in (b"\r\n", b"Content-Length: 0\r\n\r\n"):
        carrier = Carrier()
        slot = slot_of(carrier)
        slot.write(HEAD + more)
        assert carrier.calls == [("open_stream", slot, HEAD + more, True), ("flush",)]


def test_a_body_of_a_length_ends_with_its_last_byte() -> None:
    carrier = Carrier()
    slot = slot_of(carrier)
    slot.writelines([HEAD + b"content-length: 5\r\n\r\n", b"ab"])
    slot.write(b"cde")
    stream = slot.stream
    assert carrier.core.calls == [
        ("send_data", stream, b"ab", False), ("send_data", stream, b"cde", True),
    ]  # fmt: skip


def test_chunks_become_data_and_their_trailers_end_it() -> None:
    carrier = Carrier()
    slot = slot_of(carrier)
    slot.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    slot.write(b"2\r\nab\r\n0\r\nx: y\r\n\r\n")
    assert carrier.core.calls == [
        ("send_data", slot.stream, b"ab", False), ("send_trailers", slot.stream, b"x: y\r\n"),
    ]  # fmt: skip


def test_what_a_connection_has_and_a_slot_has_not() -> None:
    carrier = Carrier()
    slot = slot_of(carrier)
    assert slot.can_write_eof()
    slot.write_eof()
    slot.set_protocol(cast(Any, None))
    slot.set_write_buffer_limits(high=0)
    assert slot.get_protocol() is slot.connection
    assert slot.get_write_buffer_size() == 0
    assert slot.get_extra_info("socket", "none") == "none"
    assert slot.get_extra_info("sslcontext") == "of the transport"


def test_a_slot_that_is_closed_does_nothing_more() -> None:
    carrier = Carrier()
    connection = Calls()
    slot = slot_of(carrier, connection)
    slot.close()
    assert slot.is_closing()
    assert carrier.calls == [("slot_closed", slot, False)]
    slot.close()
    slot.abort()
    slot.write(HEAD + b"\r\n")
    slot.take_head(b"head", False)
    slot.deliver()
    slot.lose(None, OSError())
    slot.lose_connection(None)
    assert len(carrier.calls) == 1
    assert connection.calls == []


def test_a_request_that_is_under_way_is_cancelled() -> None:
    carrier = Carrier()
    slot = slot_of(carrier)
    slot.write(HEAD + b"\r\n")
    stream = slot.stream
    slot.abort()
    assert carrier.calls[2:] == [("reset", stream, 8), ("slot_closed", slot, True)]


def test_what_arrives_is_held_while_the_owner_does_not_read() -> None:
    carrier = Carrier()
    connection = Calls()
    slot = slot_of(carrier, connection)
    slot.write(HEAD + b"\r\n")
    stream = slot.stream
    slot.pause_reading()
    slot.take_head(b"head;", True)
    slot.take_data(b"ab", False)
    slot.take_data(b"", True)
    slot.deliver()
    assert connection.calls == []
    slot.resume_reading()
    carrier.loop.turn()
    assert connection.calls == [("data_received", b"head;2\r\nab\r\n0\r\n\r\n")]
    assert carrier.calls[-1] == ("consume", stream, 2)


def test_what_has_arrived_comes_before_a_loss() -> None:
    carrier = Carrier()
    connection = Calls()
    slot = slot_of(carrier, connection)
    slot.write(HEAD + b"\r\n")
    slot.take_head(b"head;", False)
    slot.take_data(b"ab", False)
    error = ConnectionResetError()
    slot.lose_connection(error)
    assert connection.calls == [("data_received", b"head;ab"), ("connection_lost", error)]


def test_trailers_of_a_response_with_a_length_are_dropped() -> None:
    slot = slot_of(Carrier(), connection := Calls())
    slot.take_head(b"head;", False)
    slot.take_trailers(b"a: b\r\n")
    slot.deliver()
    assert connection.calls == [("data_received", b"head;")]


# What writes frames


def sender_of(core: Calls) -> tuple[FrameSender, Calls, FakeLoop]:
    loop = FakeLoop()
    sender = FrameSender(loop, cast(Any, core))
    transport = Calls(is_closing=False)
    sender.transport = cast(Any, transport)
    return sender, transport, loop


def written(transport: Calls) -> list[tuple[Any, ...]]:
    return [call for call in transport.calls if call[0] != "is_closing"]


def test_frames_leave_at_once_for_one_stream_and_later_for_several() -> None:
    for streams in (1, 2):
        core = Calls(count_streams=streams, take_frames=[b"a", b"b"])
        sender, transport, loop = sender_of(core)
        sender.flush()
        sender.flush()
        if streams == 2:
            assert written(transport) == []
            loop.turn()
            assert written(transport) == [("write", b"ab")]
        else:
            assert written(transport) == [("write", b"ab")] * 2


def test_many_bytes_are_not_copied() -> None:
    pieces = [b"x" * 40_000] * 2
    sender, transport, _loop = sender_of(Calls(take_frames=pieces))
    sender.send()
    assert written(transport) == [("writelines", pieces)]


def test_an_upstream_that_does_not_read_is_not_read() -> None:
    core = Calls(take_frames=[b"a"], may_read=False)
    sender, transport, _loop = sender_of(core)
    sender.pause()
    sender.send()
    sender.check_reading()
    sender.check_reading()
    assert written(transport) == [("pause_reading",)]
    sender.resume()
    assert written(transport)[1:] == [("write", b"a"), ("resume_reading",)]
    sender.pause()
    core.answers["may_read"] = True
    sender.check_reading()
    sender.resume()
    assert written(transport)[3:] == [("write", b"a")]
