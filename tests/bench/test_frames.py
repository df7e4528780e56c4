"""Frames and blocks of the benchmark's HTTP/2 client, judged by the libraries h2 and hpack."""

import h2.config
import h2.connection
import h2.events
import pytest
from hpack import Encoder

from bench.load.frames import (
    ACK,
    HEADERS,
    PING,
    Frame,
    frame,
    is_ok,
    literal,
    preface,
    read_frames,
    request,
)
from tests.bench.blocks import decoded

FIELDS = {":method": "GET", ":scheme": "http", ":path": "/", ":authority": "a"}


def test_a_peer_understands_the_requests_of_a_connection() -> None:
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    peer.initiate_connection()
    events = peer.receive_data(preface() + request(1, FIELDS) + request(3, FIELDS))
    got = [one for one in events if isinstance(one, h2.events.RequestReceived)]
    assert [one.stream_id for one in got] == [1, 3]
    assert all(one.stream_ended is not None for one in got)
    assert peer.local_flow_control_window(1) > 100_000


@pytest.mark.parametrize("length", [0, 126, 127, 128, 254, 255, 3900, 20_000])
def test_a_value_may_have_any_length(length: int) -> None:
    assert decoded(literal("X", "v" * length)) == [[("x", "v" * length)]]


def test_only_an_added_field_can_be_repeated() -> None:
    block = literal("x", "v", is_added=True) + literal("y", "w") + b"\xbe\xbe"
    assert decoded(block) == [[("x", "v"), ("y", "w"), ("x", "v"), ("x", "v")]]


def test_whole_frames_are_read_and_the_rest_is_kept() -> None:
    one, other = frame(PING, ACK, 0, b"12345678"), frame(HEADERS, 4, 2**31 - 1, b"")
    frames, rest = read_frames(one + other + one[:-1])
    assert frames == [Frame(PING, ACK, 0, b"12345678"), Frame(HEADERS, 4, 2**31 - 1, b"")]
    assert rest == one[:-1]
    assert read_frames(one[:8]) == ([], one[:8])


@pytest.mark.parametrize("sizes", [(), (0,), (0, 4096), (30,), (31,)], ids=str)
@pytest.mark.parametrize("status", ["200", "404"])
def test_the_status_is_read_behind_changes_of_the_table(
    sizes: tuple[int, ...], status: str
) -> None:
    encoder = Encoder()
    for size in sizes:
        encoder.header_table_size = size
    assert is_ok(encoder.encode([(":status", status)])) == (status == "200")


def test_a_block_that_ends_early_is_not_ok() -> None:
    assert not any(is_ok(block) for block in (b"", b"\x20", b"\x3f\xe1"))
