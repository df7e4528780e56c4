"""The port in the target of a CONNECT: on this machine only, and a real one."""

import pytest

from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.authority import local_port


@pytest.mark.parametrize(
    "host", [b"localhost", b"LocalHost", b"127.0.0.1", b"127.255.255.254", b"[::1]", b"[0:0::0:1]"]
)
def test_a_port_of_this_machine_is_read(host: bytes) -> None:
    assert local_port(host + b":3000") == b"3000"


@pytest.mark.parametrize(
    "host",
    [
        b"", b"a.localhost", b"localhost.", b"localhost.example", b"128.0.0.1", b"0.0.0.0",
        b"127.1", b"0177.0.0.1", b"127.0.0.1.", b"2130706433", b"[::]", b"[::2]", b"::1",
        b"[::ffff:10.0.0.1]", b"[::1", b"[]", b"user@localhost", b"192.0.2.1", b"\xff",
    ],
)  # fmt: skip
def test_another_host_is_refused(host: bytes) -> None:
    with pytest.raises(RouteRefused) as caught:
        local_port(host + b":3000")
    assert (caught.value.status, caught.value.error) == (403, "http_request_denied")


@pytest.mark.parametrize("port", [b"0", b"65536", b"22x", b"+22", b"", b" 22", b"2_2"])
def test_what_is_no_port_is_refused(port: bytes) -> None:
    with pytest.raises(RouteRefused) as caught:
        local_port(b"localhost:" + port)
    assert caught.value.status == 400
    assert caught.value.text.startswith("invalid request target: ")
