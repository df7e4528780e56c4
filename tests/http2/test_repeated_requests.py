"""The same header block again: it is the same request as long as no table has changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http2.error_codes import REFUSED_STREAM
from cmux_proxy.http2.errors import StreamFault
from cmux_proxy.http2.frame_types import END_HEADERS, END_STREAM, HEADERS
from cmux_proxy.http2.header_field import HeaderField
from cmux_proxy.http2.http2_limits import MAX_KEPT_HEAD, Http2Limits
from cmux_proxy.http2.request_composer import RequestComposer
from tests.helpers.http2_client import Peer
from tests.helpers.http2_frames import GET, GET_HEAD, HEAD_LIMITS, POST, Event, Fields, frame

CONNECT: Fields = [(b":method", b"CONNECT"), (b":authority", b"a:1")]
CHAT: Fields = [(b":method", b"CONNECT"), (b":protocol", b"chat"), *GET[1:]]
REQUESTS: list[Fields] = [
    GET, POST, CONNECT, CHAT,
    [*GET, (b"cookie", b"a"), (b"cookie", b"b")],
    [*POST, (b"content-length", b"3")],
    # Malformed, and one that gets a 400.
    [*GET, (b"connection", b"close")], [*GET, (b"host", b"b")],
]  # fmt: skip
# Fields that no table has, so that a block of them is the same wherever it comes.
PLAIN_BLOCK = b"\x82\x86\x84\x01\x01a"
ADDS_A_1 = b"\x40\x01a\x011"


def outcome(fields: Fields, stream_id: int, is_last: bool) -> tuple[object, ...]:
    """Return what the owner is told of a request that has never come before."""
    composer = RequestComposer()
    try:
        head = composer.compose([HeaderField(*field) for field in fields], is_last)
    except StreamFault as fault:
        return "refused", stream_id, fault.code, fault.rule
    except BadMessage as error:
        return "bad request", stream_id, error.status, error.reason
    facts = composer.content_length, composer.is_tunnel, composer.protocol
    return "request", stream_id, head, *facts


def seen(peer: Peer, event: Event) -> tuple[object, ...]:
    """Return the same of an event."""
    if event[0] != "request":
        return event
    stream = peer.owner.streams[int(str(event[1]))]
    return *event, stream.content_left, stream.is_tunnel, stream.protocol


@given(
    st.lists(
        st.tuples(
            st.sampled_from(REQUESTS), st.booleans(), st.integers(1, 4),
            st.sampled_from([None, None, 0, 100, 4096]),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_each_is_what_it_would_be_alone(steps: list[tuple[Fields, bool, int, int | None]]) -> None:
    peer = Peer()
    stream_id = 1
    for fields, is_last, times, table_size in steps:
        if table_size is not None:
            peer.encoder.header_table_size = table_size
        for _ in range(times):
            peer.feed(peer.headers(stream_id, fields, is_last))
            (event,) = peer.events
            assert seen(peer, event) == outcome(fields, stream_id, is_last)
            if event[0] != "refused":
                peer.connection.reset(peer.owner.streams[stream_id], 0)
            stream_id += 2


def test_a_block_that_changes_nothing_is_read_once() -> None:
    peer = Peer()
    for stream_id in (1, 3, 5, 7):
        peer.feed(peer.headers(stream_id))
    # The first adds the authority to the table, the second finds it there.
    assert peer.owner.repeats == [5, 7]
    first, _second, third, last = (event[2] for event in peer.events)
    assert first == GET_HEAD
    assert last is third


@pytest.mark.parametrize("media_type", [b"application/grpc", b"text/plain"])
def test_a_call_of_grpc_is_one_each_time(media_type: bytes) -> None:
    peer = Peer()
    for stream_id in (1, 3, 5):
        peer.feed(peer.headers(stream_id, [*GET, (b"content-type", media_type)]))
    assert peer.owner.repeats == [5]
    is_grpc = media_type == b"application/grpc"
    assert [stream.is_grpc for stream in peer.owner.streams.values()] == [is_grpc] * 3


def repeated_upload() -> tuple[Peer, bytes]:
    """Return a peer with uploads on streams 1, 3 and 5, and their block, which names an entry."""
    peer = Peer()
    fields = [(b":authority", b"b"), *POST[:2], POST[3]]
    for stream_id in (1, 3, 5):
        peer.feed(peer.headers(stream_id, fields, False))
    assert peer.owner.repeats == [5]
    return peer, peer.block(fields)


def end_with(peer: Peer, block: bytes) -> None:
    """End stream 1 with trailers, and forget what happened."""
    peer.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    assert peer.events[-1][0] == "trailers"


def test_the_same_bytes_mean_something_else_once_the_table_has_another_entry() -> None:
    peer, block = repeated_upload()
    end_with(peer, peer.block([(b"x-new", b"1")]))
    peer.feed(frame(HEADERS, END_HEADERS, 7, block))
    assert peer.events[-1][0] == "refused"


def test_the_same_bytes_mean_nothing_once_the_table_is_empty() -> None:
    peer, block = repeated_upload()
    end_with(peer, b"\x20\x00\x01a\x01b")
    peer.feed(frame(HEADERS, END_HEADERS, 7, block))
    assert peer.events[-1][0] == "fault"


def test_a_block_that_adds_to_the_table_does_so_each_time() -> None:
    peer = Peer()
    for stream_id in (1, 3, 5):
        peer.feed(frame(HEADERS, END_HEADERS | END_STREAM, stream_id, PLAIN_BLOCK + ADDS_A_1))
    assert peer.owner.repeats == []
    # The oldest of three entries.
    peer.feed(frame(HEADERS, END_HEADERS | END_STREAM, 7, PLAIN_BLOCK + b"\xc0"))
    assert peer.events[-1][2] == GET_HEAD[:-2] + b"a: 1\r\n\r\n"


@pytest.mark.parametrize("flags", [END_HEADERS, END_HEADERS | END_STREAM])
def test_trailers_with_the_bytes_of_a_request_are_no_request(flags: int) -> None:
    peer = Peer()
    for stream_id in (1, 3, 5):
        peer.feed(frame(HEADERS, END_HEADERS, stream_id, PLAIN_BLOCK))
    assert peer.owner.repeats == [3, 5]
    peer.feed(frame(HEADERS, flags, 5, PLAIN_BLOCK))
    assert peer.events[-1][0] == "reset"


def test_the_end_of_the_stream_belongs_to_the_request() -> None:
    peer = Peer()
    for stream_id in (1, 3):
        peer.feed(frame(HEADERS, END_HEADERS | END_STREAM, stream_id, PLAIN_BLOCK))
    peer.feed(frame(HEADERS, END_HEADERS, 5, PLAIN_BLOCK))
    assert peer.owner.repeats == [3]
    assert not peer.owner.streams[5].has_request_ended()
    assert peer.owner.streams[3].has_request_ended()


def test_the_limit_of_streams_holds_for_it_too() -> None:
    peer = Peer(Http2Limits(HEAD_LIMITS, streams=2))
    for stream_id in (1, 3, 5):
        peer.feed(frame(HEADERS, END_HEADERS, stream_id, PLAIN_BLOCK))
    assert peer.events[-1][:3] == ("refused", 5, REFUSED_STREAM)


def test_a_large_request_is_not_kept() -> None:
    peer = Peer()
    size = MAX_KEPT_HEAD - len(GET_HEAD) - len(b"a: \r\n")
    for stream_id, more in ((1, 0), (3, 0), (5, 1), (7, 1)):
        value = b"x" * (size + more)
        # A literal whose length takes two bytes behind the prefix.
        literal = b"\x00\x01a\x7f" + bytes(
            [(len(value) - 127) & 127 | 128, (len(value) - 127) >> 7]
        )
        peer.feed(
            frame(HEADERS, END_HEADERS | END_STREAM, stream_id, PLAIN_BLOCK + literal + value)
        )
    sizes = [len(head) for event in peer.events if isinstance(head := event[2], bytes)]
    assert sizes == [MAX_KEPT_HEAD, MAX_KEPT_HEAD, MAX_KEPT_HEAD + 1, MAX_KEPT_HEAD + 1]
    assert peer.owner.repeats == [3]
