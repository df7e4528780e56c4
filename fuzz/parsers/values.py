"""Single values: targets, hosts, ports, lengths, protocols, and values of a configuration.

The lines of an input are its values; no value may have an LF.
"""

import contextlib
import re
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from cmux_proxy.config import values
from cmux_proxy.config.address import listen_entry
from cmux_proxy.http1.framing import request_framing, response_framing
from cmux_proxy.http1.grammar import HOST
from cmux_proxy.http1.upgrade import check_upgrade_granted, requests_upgrade
from cmux_proxy.relay.loop_detection import HOPS_NAME, MAX_HOPS, check_hops, hop_line
from cmux_proxy.relay.request_options import RequestOptions
from cmux_proxy.routing.host_label import HostSuffixes
from cmux_proxy.routing.port_field import parse_port
from cmux_proxy.routing.router import RESERVED_PREFIX, Router
from fuzz.parsers.cuts import REFUSED, is_refusal, outcome
from fuzz.parsers.messages import Facts, request_facts
from tests.helpers.judging import REQUESTS, RESPONSES, judge_request, request_head
from tests.helpers.one_reading import check_request

_PORT: Final = b"X-Cmux-Port-Internal: 3000\r\n"
_GET: Final = request_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
_ROUTER: Final = Router("127.0.0.1", host_suffixes=["localhost", "example.dev"])
_NAMED_ROUTER: Final = Router("10.0.0.1", "{workspace}.example", ["localhost"])
_BARE_ROUTER: Final = Router("10.0.0.1", "{workspace}", ["localhost"])
_SUFFIXES: Final = HostSuffixes(["localhost"])
_WORKSPACE_ADDRESS: Final = re.compile(r"127\.18\.\d+\.\d+|127\.0\.0\.1")
_CONFIGURED: Final[list[Callable[[str], object]]] = [
    listen_entry,
    values.PortRange.parse,
    values.HostPattern.parse,
    values.domain,
    values.host_template,
    values.host_value,
    values.peer_network,
]


def _values(data: bytes, count: int) -> list[bytes]:
    """Return the first `count` lines; missing ones are empty."""
    return [*data.split(b"\n", count - 1), *[b""] * count][:count]


def target(data: bytes) -> object:
    """Read any method, request target and Host."""
    method, request_target, host = _values(data, 3)
    message = (
        method + b" " + request_target + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + _PORT + b"\r\n"
    )
    result = outcome(partial(_judge, message))
    if not is_refusal(result):
        check_request(message)
    return result


def _judge(message: bytes) -> Facts | None:
    judged = judge_request([message])
    return None if judged is None else request_facts(judged)


def switching(data: bytes) -> object:
    """Read any Connection and Upgrade fields of a request and of its 101 response."""
    values_of_fields = _values(data, 4)
    return outcome(partial(_switch, values_of_fields[:2], values_of_fields[2:]))


def _switch(requested: list[bytes], granted: list[bytes]) -> object:
    request = REQUESTS.scan(b"GET / HTTP/1.1\r\nHost: a\r\n" + _upgrade_fields(*requested), 0)
    response = RESPONSES.scan(b"HTTP/1.1 101 Switching\r\n" + _upgrade_fields(*granted), 0)
    if request is None or response is None:
        return None
    is_requested = requests_upgrade(request)
    check_upgrade_granted(request, response, is_requested)
    assert is_requested
    assert request.upgrade
    assert response.upgrade
    return (request.upgrade, response.upgrade, response.connection)


def _upgrade_fields(connection: bytes, upgrade: bytes) -> bytes:
    return b"Connection: " + connection + b"\r\nUpgrade: " + upgrade + b"\r\n\r\n"


def routing(data: bytes) -> object:
    """Read any port, workspace, Host, request options and count of proxies."""
    port, workspace, host, wait, other = _values(data, 5)
    fields = [(RESERVED_PREFIX + b"port-internal", port)] if port else []
    fields += [(RESERVED_PREFIX + b"workspace-internal", workspace)] if workspace else []
    options = ((RESERVED_PREFIX + b"wait", wait), (RESERVED_PREFIX + b"host-override", other))
    routed = [
        outcome(partial(_route, router, host, tuple(fields)))
        for router in (_ROUTER, _NAMED_ROUTER, _BARE_ROUTER)
    ]
    _check_host_decides(host, routed[1])
    _check_target_is_no_address(routed[2])
    if isinstance(routed[0], tuple) and routed[0][0] != REFUSED:
        assert _WORKSPACE_ADDRESS.fullmatch(routed[0][0])
    return (
        _port(port),
        routed,
        outcome(partial(_read_options, options)),
        outcome(partial(_hops, wait)),
    )


def _check_host_decides(host: bytes, result: object) -> None:
    label = _SUFFIXES.read(host) if HOST.fullmatch(host) is not None else None
    if label is not None and isinstance(result, tuple) and result[0] != REFUSED:
        name = "10.0.0.1" if label.workspace is None else f"{label.workspace}.example"
        assert result == (name, label.port)


def _check_target_is_no_address(result: object) -> None:
    if isinstance(result, tuple) and result[0] not in (REFUSED, "10.0.0.1"):
        assert result[0] != "localhost"
        with contextlib.suppress(OSError):
            socket.inet_aton(result[0])
            raise AssertionError(f"{result[0]} is read as an address")


def _hops(value: bytes) -> object:
    fields = ((HOPS_NAME, value),)
    check_hops(fields)
    assert value.isdigit()
    assert int(value) <= MAX_HOPS
    return hop_line(fields)


def _port(value: bytes) -> object:
    result = outcome(partial(parse_port, value))
    is_port = value.isdigit() and len(value) <= 5 and 0 < int(value) < 65536
    assert result == int(value) if is_port else is_refusal(result)
    return result


def _route(router: Router, host: bytes, fields: tuple[tuple[bytes, bytes], ...]) -> object:
    target = router.route(b"GET", host or None, fields)
    assert 0 < target.port < 65536
    return (target.host, target.port)


def _read_options(fields: tuple[tuple[bytes, bytes], ...]) -> object:
    options = RequestOptions(fields)
    assert options.wait is None or 0 <= options.wait < 1e12
    return (options.wait, options.host)


def length(data: bytes) -> object:
    """Read any Content-Length, of a request and of a response."""
    field = b"Content-Length: " + data + b"\r\n\r\n"
    result = outcome(partial(_length, field))
    value = data.strip(b" \t")
    if b"\n" not in data:
        is_length = value.isdigit() and len(value) <= 18
        number = int(value) if is_length else 0
        assert result == (number, number) if is_length else is_refusal(result), result
    return result


def _length(field: bytes) -> object:
    request = REQUESTS.scan(b"POST / HTTP/1.1\r\nHost: a\r\n" + field, 0)
    response = RESPONSES.scan(b"HTTP/1.1 200 OK\r\n" + field, 0)
    if request is None or response is None:
        return None
    return (request_framing(request), response_framing(response, b"GET"))


def configured(data: bytes) -> object:
    """Read any text as a value of a configuration: an address, a range, a pattern, a network."""
    text = data.decode("utf-8", "surrogateescape")
    return [_parsed(parse, text) for parse in _CONFIGURED]


def _parsed(parse: Callable[[str], object], text: str) -> str:
    try:
        value = parse(text)
    except ValueError as error:
        return f"{REFUSED}: {error}"
    # "unix:" is not a network, and a pattern has less information than its text.
    if value is not None and not isinstance(value, values.HostPattern):
        assert str(parse(str(value))) == str(value)
    return str(value)
