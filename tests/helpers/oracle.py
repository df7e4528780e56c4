"""What h11 reads in the same bytes: a second opinion, which no code of ours has influenced."""

from dataclasses import dataclass, field

import h11

_LARGEST = 1 << 20


@dataclass
class Read:
    """One message as h11 has read it."""

    start: tuple[bytes, ...]
    fields: list[tuple[bytes, bytes]]
    content: bytes
    trailers: list[tuple[bytes, bytes]]
    trailing_data: bytes
    # The status of each interim response before it.
    interim: list[int] = field(default_factory=list)


def read_request(data: bytes) -> Read:
    """Return the first request; raise h11.RemoteProtocolError."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST)
    reader.receive_data(data)
    head = reader.next_event()
    assert isinstance(head, h11.Request), head
    return _read_body(reader, (head.method, head.target, head.http_version), list(head.headers))


def read_response(data: bytes, method: str, is_closed: bool) -> Read:
    """Return the final answer to a request of that method; raise h11.RemoteProtocolError."""
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    if is_closed:
        reader.receive_data(b"")
    interim: list[int] = []
    while isinstance(head := reader.next_event(), h11.InformationalResponse):
        interim.append(head.status_code)
    assert isinstance(head, h11.Response), head
    status = b"%d" % head.status_code
    read = _read_body(reader, (status, head.http_version), list(head.headers))
    read.interim = interim
    return read


def _read_body(
    reader: h11.Connection, start: tuple[bytes, ...], fields: list[tuple[bytes, bytes]]
) -> Read:
    content = b""
    while True:
        event = reader.next_event()
        if isinstance(event, h11.Data):
            content += bytes(event.data)
            continue
        assert isinstance(event, h11.EndOfMessage), event
        trailing_data = bytes(reader.trailing_data[0])
        return Read(start, fields, content, list(event.headers), trailing_data)
