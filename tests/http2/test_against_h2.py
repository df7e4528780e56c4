"""The h2 library as a client: what it sends is what the owner gets, and the other way round."""

from collections.abc import Iterator

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1.reserved_fields import NO_RESERVED_FIELDS
from cmux_proxy.http1.scan import RequestScanner
from tests.helpers.h2_server import is_valid_for_h2
from tests.helpers.http2_client import OK_HEAD, Peer
from tests.helpers.http2_frames import GET, HEAD_LIMITS, POST, Fields


class Browser:
    """A client of h2, connected to the engine."""

    def __init__(self) -> None:
        self.peer = Peer(greets=False)
        self.client = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self.client.initiate_connection()
        self.events: list[h2.events.Event] = []
        self.exchange()

    def exchange(self, size: int = 0) -> None:
        """Pass bytes in both directions until there are none, in pieces of a size."""
        while True:
            data = self.client.data_to_send()
            for at in range(0, len(data), size or max(len(data), 1)):
                self.peer.feed(data[at : at + (size or len(data))])
            sent = self.peer.sent_bytes()
            if not sent and not data:
                return
            self.events += self.client.receive_data(sent)

    def bodies(self) -> dict[int, bytes]:
        """Return what has come of each response's body, and acknowledge it."""
        bodies: dict[int, bytes] = {}
        for event in self.events:
            if isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
        return bodies

    def of(self, kind: type[h2.events.Event]) -> Iterator[h2.events.Event]:
        """Return the events of a kind."""
        return (event for event in self.events if isinstance(event, kind))


def test_a_request_and_a_response() -> None:
    browser = Browser()
    browser.client.send_headers(1, [*POST, (b"cookie", b"a"), (b"cookie", b"b")])
    browser.client.send_data(1, b"hello")
    browser.client.send_headers(1, [(b"checksum", b"1")], end_stream=True)
    browser.exchange()
    head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncookie: a; b\r\n\r\n"
    assert browser.peer.events == [
        ("request", 1, head),
        ("data", 1, b"hello", False),
        ("trailers", 1, b"checksum: 1\r\n"),
    ]
    stream = browser.peer.owner.streams[1]
    connection = browser.peer.connection
    connection.send_head(stream, b"HTTP/1.1 100 Continue\r\n\r\n", False)
    connection.send_head(stream, b"HTTP/1.1 200 OK\r\nSet-Cookie: c\r\n\r\n", False)
    connection.send_data(stream, b"world", False)
    connection.send_trailers(stream, b"X-End: 1\r\n")
    browser.exchange()
    kinds = [type(event).__name__ for event in browser.events]
    assert kinds[-5:] == [
        "InformationalResponseReceived", "ResponseReceived", "DataReceived", "TrailersReceived",
        "StreamEnded",
    ]  # fmt: skip
    response = next(browser.of(h2.events.ResponseReceived))
    assert isinstance(response, h2.events.ResponseReceived)
    assert response.headers == [(b":status", b"200"), (b"set-cookie", b"c")]
    assert not browser.peer.connection.has_work()


def test_settings_and_pings_are_acknowledged() -> None:
    browser = Browser()
    browser.client.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0})
    browser.client.ping(b"12345678")
    browser.exchange()
    assert any(browser.of(h2.events.SettingsAcknowledged))
    assert any(browser.of(h2.events.PingAckReceived))


def test_it_learns_what_it_may_do() -> None:
    settings = Browser().client.remote_settings
    assert settings.max_concurrent_streams == 100
    assert settings.enable_connect_protocol == 1
    assert settings.max_header_list_size == 16_384 + 65_536


def test_a_large_body_up_and_down() -> None:
    browser = Browser()
    body = bytes(range(256)) * 1000
    browser.client.send_headers(1, [*POST, (b"content-length", b"%d" % len(body))])
    sent = 0
    received = b""
    while sent < len(body):
        size = min(browser.client.local_flow_control_window(1), 16_384, len(body) - sent)
        assert size > 0, "the client is stuck"
        browser.client.send_data(1, body[sent : sent + size], end_stream=sent + size == len(body))
        sent += size
        browser.exchange()
        for event in browser.peer.events:
            if event[0] == "data":
                assert isinstance(event[2], bytes)
                received += event[2]
                stream = browser.peer.owner.streams[1]
                browser.peer.connection.consume(stream, len(event[2]))
        browser.exchange()
    assert received == body
    browser.peer.connection.send_head(stream, OK_HEAD, False)
    browser.peer.connection.send_data(stream, body, True)
    seen = 0
    while not any(browser.of(h2.events.StreamEnded)):
        browser.exchange()
        for received_event in browser.events[seen:]:
            if isinstance(received_event, h2.events.DataReceived):
                size = received_event.flow_controlled_length or 0
                browser.client.acknowledge_received_data(size, 1)
        seen = len(browser.events)
    assert browser.bodies() == {1: body}


def test_resets_and_goaway_are_understood() -> None:
    browser = Browser()
    for stream_id in (1, 3):
        browser.client.send_headers(stream_id, POST)
    browser.exchange()
    browser.peer.connection.reset(browser.peer.owner.streams[1], 2)
    browser.client.reset_stream(3, 8)
    browser.exchange()
    assert browser.peer.events[-1] == ("reset", 3, 8, "")
    reset = next(browser.of(h2.events.StreamReset))
    assert isinstance(reset, h2.events.StreamReset)
    assert (reset.stream_id, reset.error_code) == (1, 2)
    browser.peer.connection.refuse_streams()
    browser.exchange()
    assert any(browser.of(h2.events.ConnectionTerminated))


def test_an_extended_connect() -> None:
    browser = Browser()
    fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]
    browser.client.send_headers(1, fields)
    browser.client.send_data(1, b"up")
    browser.exchange()
    stream = browser.peer.owner.streams[1]
    assert (stream.protocol, browser.peer.events[1]) == (b"websocket", ("data", 1, b"up", False))
    browser.peer.connection.send_head(stream, OK_HEAD, False)
    browser.peer.connection.send_data(stream, b"down", False)
    browser.exchange()
    assert browser.bodies() == {1: b"down"}


NAMES = st.sampled_from(
    [b"accept", b"x-a", b"cookie", b"user-agent", b"te", b"content-length", b"Upper", b"upgrade"]
)
VALUES = st.one_of(
    st.sampled_from([b"trailers", b"5", b"0", b" x", b"", b"a b", b"\xff"]), st.binary(max_size=5)
)
EXTRA = st.lists(st.tuples(NAMES, VALUES), max_size=4)
STARTS = st.sampled_from(
    [GET, POST, GET[:3], GET[1:], [*GET, (b":path", b"/")], [*GET, (b"host", b"a")], GET[::-1]]
)


@given(STARTS, EXTRA)
def test_what_h2_refuses_is_refused(start: Fields, extra: list[tuple[bytes, bytes]]) -> None:
    peer = Peer()
    block = peer.block([*start, *extra])
    peer.feed(frame_of(block))
    event = peer.events[0]
    # An empty crumb at the end leaves a blank behind the joined cookies, which h2 refuses.
    is_blank = [value for name, value in extra if name == b"cookie"][-1:] == [b""]
    if not is_valid_for_h2([*start, *extra]) and not is_blank:
        assert event[0] in ("refused", "bad request")
    if event[0] == "request":
        scanner = RequestScanner(HEAD_LIMITS, NO_RESERVED_FIELDS)
        assert isinstance(event[2], bytes)
        assert scanner.scan(event[2], 0) is not None


def frame_of(block: bytes) -> bytes:
    """Return a HEADERS frame that ends its stream."""
    return len(block).to_bytes(3, "big") + b"\x01\x05" + (1).to_bytes(4, "big") + block


@pytest.mark.parametrize("size", [1, 7, 100])
def test_pieces_of_any_size(size: int) -> None:
    browser = Browser()
    for stream_id in (1, 3, 5):
        browser.client.send_headers(stream_id, POST)
        browser.client.send_data(stream_id, b"body %d" % stream_id, end_stream=True)
    browser.exchange(size)
    data = [event[1:] for event in browser.peer.events if event[0] == "data"]
    assert data == [(number, b"body %d" % number, True) for number in (1, 3, 5)]


class Traffic:
    """Many streams at once, each with a body in both directions; some are broken off."""

    def __init__(self) -> None:
        self.browser = Browser()
        self.sent_up: dict[int, bytes] = {}
        self.sent_down: dict[int, bytes] = {}
        self.came_up: dict[int, bytes] = {}
        self.over: set[int] = set()
        self.answered: set[int] = set()
        self.seen = 0

    def open(self) -> None:
        """Open a stream."""
        if len(self.sent_up) - len(self.over) < 50:
            stream_id = self.browser.client.get_next_available_stream_id()
            self.browser.client.send_headers(stream_id, POST)
            self.sent_up[stream_id] = self.sent_down[stream_id] = b""

    def send_up(self, stream_id: int, size: int) -> None:
        """Send body bytes to the engine, as far as its windows allow."""
        size = min(size, self.browser.client.local_flow_control_window(stream_id), 16_384)
        if size > 0:
            data = bytes([stream_id % 251]) * size
            self.browser.client.send_data(stream_id, data)
            self.sent_up[stream_id] += data

    def send_down(self, stream_id: int, size: int) -> None:
        """Send body bytes to h2."""
        stream = self.browser.peer.owner.streams.get(stream_id)
        if stream is not None:
            if stream_id not in self.answered:
                self.answered.add(stream_id)
                self.browser.peer.connection.send_head(stream, OK_HEAD, False)
            data = bytes([stream_id % 241]) * size
            self.browser.peer.connection.send_data(stream, data, False)
            self.sent_down[stream_id] += data

    def abort(self, stream_id: int, by_client: bool) -> None:
        """Break a stream off, from either side."""
        stream = self.browser.peer.owner.streams.get(stream_id)
        if by_client:
            self.browser.client.reset_stream(stream_id, 8)
        elif stream is not None:
            self.browser.peer.connection.reset(stream, 2)
        else:
            return
        self.over.add(stream_id)

    def settle(self) -> None:
        """Deliver everything, and take what has come on both sides."""
        browser = self.browser
        browser.exchange()
        for name, stream_id, *values in browser.peer.events:
            assert name in ("request", "data", "reset", "blocked", "unblocked")
            if name == "data":
                assert isinstance(stream_id, int)
                assert isinstance(values[0], bytes)
                self.came_up[stream_id] = self.came_up.get(stream_id, b"") + values[0]
                stream = browser.peer.owner.streams[stream_id]
                browser.peer.connection.consume(stream, len(values[0]))
        for event in browser.events[self.seen :]:
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.over:
                size = event.flow_controlled_length or 0
                browser.client.acknowledge_received_data(size, event.stream_id)
        self.seen = len(browser.events)

    def check(self) -> None:
        """Check every byte of the streams that were not broken off, and a part of the others."""
        for _ in range(40):
            self.settle()
        came_down = self.browser.bodies()
        for stream_id in self.sent_up:
            up, down = self.came_up.get(stream_id, b""), came_down.get(stream_id, b"")
            if stream_id in self.over:
                assert self.sent_up[stream_id].startswith(up)
                assert self.sent_down[stream_id].startswith(down)
            else:
                assert up == self.sent_up[stream_id]
                assert down == self.sent_down[stream_id]
        open_streams = len(self.sent_up) - len(self.over)
        assert self.browser.peer.connection.count_streams() == open_streams
        assert self.browser.peer.connection.pending_size() == 0


MOVES = st.tuples(
    st.sampled_from(["open", "open", "up", "up", "down", "down", "abort", "reset", "settle"]),
    st.integers(0, 99),
    st.integers(1, 30_000),
)


@given(st.lists(MOVES, max_size=60))
def test_many_streams_at_once_keep_their_bytes_apart(moves: list[tuple[str, int, int]]) -> None:
    traffic = Traffic()
    for move, which, size in moves:
        open_streams = [key for key in traffic.sent_up if key not in traffic.over]
        if move == "open":
            traffic.open()
        elif move == "settle":
            traffic.settle()
        elif open_streams:
            stream_id = open_streams[which % len(open_streams)]
            if move == "up":
                traffic.send_up(stream_id, size)
            elif move == "down":
                traffic.send_down(stream_id, size)
            else:
                traffic.abort(stream_id, by_client=move == "abort")
    traffic.check()
