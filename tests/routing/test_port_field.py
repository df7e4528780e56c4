"""The port field: a number from 1 to 65535 in ASCII digits."""

import pytest

from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.port_field import PORT_FIELD, parse_port


@pytest.mark.parametrize(
    ("value", "port"),
    [(b"1", 1), (b"80", 80), (b"65535", 65535), (b"00001", 1), (b"08080", 8080)],
)
def test_a_port_is_read(value: bytes, port: int) -> None:
    assert parse_port(value) == port


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"0",
        b"00000",
        b"65536",
        b"99999",
        b"000080",
        b"1" * 20,
        b"+80",
        b"-80",
        b" 80",
        b"80 ",
        b"80\n",
        b"80\t",
        b"8 0",
        b"8_0",
        b"0x50",
        b"0o17",
        b"80,81",
        b"80,80",
        b"80.0",
        b"8e1",
        b"http",
        b'"80"',
        b"80\x00",
        b"\xb2",
        "\u0668\u0660".encode(),
        "\uff18\uff10".encode(),
        b":80",
    ],
)
def test_other_values_are_refused(value: bytes) -> None:
    with pytest.raises(RouteRefused) as caught:
        parse_port(value)
    assert caught.value.status == 400
    assert caught.value.error == "http_request_error"
    assert caught.value.text == (
        "invalid header: X-Cmux-Port-Internal must be a port from 1 to 65535"
    )


def test_every_port_is_read() -> None:
    assert [parse_port(b"%d" % port) for port in range(1, 65536)] == list(range(1, 65536))


def test_the_field_has_its_documented_name() -> None:
    assert PORT_FIELD == "X-Cmux-Port-Internal"
