"""Reads messages with h11, as an independent second opinion."""

from dataclasses import dataclass, field

import h11

_MAX_SIZE = 1 << 20


@dataclass
class ParsedMessage:
    """One message as h11 reads it."""

    start: tuple[bytes, ...]
    fields: list[tuple[bytes, bytes]]
    content: bytes
    trailers: list[tuple[bytes, bytes]]
    trailing_data: bytes
    # The statuses of the interim responses before it.
    interim: list[int] = field(default_factory=list)


def read_request(data: bytes) -> ParsedMessage:
    """Return the first request; raise h11.RemoteProtocolError if h11 refuses it."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_SIZE)
    reader.receive_data(data)
    head = reader.next_event()
    assert isinstance(head, h11.Request), head
    return _read_body(reader, (head.method, head.target, head.http_version), list(head.headers))


def read_response(data: bytes, method: str, is_closed: bool) -> ParsedMessage:
    """Return the final response to a request with that method.

    Raises h11.RemoteProtocolError if h11 refuses it.
    """
    reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_SIZE)
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
    message = _read_body(reader, (status, head.http_version), list(head.headers))
    message.interim = interim
    return message


def _read_body(
    reader: h11.Connection, start: tuple[bytes, ...], fields: list[tuple[bytes, bytes]]
) -> ParsedMessage:
    content = b""
    while True:
        event = reader.next_event()
        if isinstance(event, h11.Data):
            content += bytes(event.data)
            continue
        assert isinstance(event, h11.EndOfMessage), event
        trailing_data = bytes(reader.trailing_data[0])
        return ParsedMessage(start, fields, content, list(event.headers), trailing_data)
