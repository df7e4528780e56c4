"""The router: one port field, one target."""

import pytest

from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.router import FAMILY_PREFIX, FAMILY_SUFFIX, Router
from cmux_proxy.routing.target import Target

PORT = b"x-cmux-port-internal"
OTHER = b"x-cmux-other-internal"


def route(*fields: tuple[bytes, bytes], host: str = "127.0.0.1") -> Target:
    return Router(host).route(b"GET", b"a.example", fields)


def refusal(*fields: tuple[bytes, bytes]) -> str:
    with pytest.raises(RouteRefused) as caught:
        route(*fields)
    assert (caught.value.status, caught.value.error) == (400, "http_request_error")
    return caught.value.text


def test_the_port_field_names_the_port_of_the_upstream_host() -> None:
    assert route((PORT, b"3000")) == Target("127.0.0.1", 3000)
    assert route((PORT, b"3000"), host="::1") == Target("::1", 3000)


@pytest.mark.parametrize("method", [b"GET", b"CONNECT", b"POST"])
@pytest.mark.parametrize("host", [None, b"a", b"127.0.0.1:1"])
def test_neither_method_nor_host_says_where(method: bytes, host: bytes | None) -> None:
    assert Router("h").route(method, host, ((PORT, b"1"),)) == Target("h", 1)


def test_other_fields_of_the_family_are_passed_over() -> None:
    assert route((OTHER, b"1"), (PORT, b"2"), (OTHER, b"3")).port == 2


def test_a_request_without_the_field_is_refused() -> None:
    text = "missing required header: X-Cmux-Port-Internal"
    assert refusal() == text
    assert refusal((OTHER, b"3000")) == text


def test_the_field_may_not_come_twice() -> None:
    text = "header given more than once: X-Cmux-Port-Internal"
    assert refusal((PORT, b"1"), (PORT, b"2")) == text
    assert refusal((PORT, b"1"), (OTHER, b""), (PORT, b"1")) == text
    assert refusal((PORT, b""), (PORT, b"1")) == text


def test_an_invalid_port_is_refused_every_time() -> None:
    router = Router("h")
    for _ in range(2):
        with pytest.raises(RouteRefused, match="must be a port"):
            router.route(b"GET", None, ((PORT, b"+80"),))


def test_a_target_is_made_once() -> None:
    router = Router("h")
    first = router.route(b"GET", None, ((PORT, b"80"),))
    assert router.route(b"GET", None, ((PORT, b"80"),)) is first
    assert router.route(b"GET", None, ((PORT, b"080"),)) == first


def test_more_ports_than_are_remembered_are_routed_all_the_same() -> None:
    router = Router("h")
    first = router.route(b"GET", None, ((PORT, b"1"),))
    for port in range(1, 5000):
        assert router.route(b"GET", None, ((PORT, b"%d" % port),)).port == port
    again = router.route(b"GET", None, ((PORT, b"1"),))
    assert again == first
    assert again is not first


def test_the_family_is_that_of_all_internal_fields() -> None:
    assert (FAMILY_PREFIX, FAMILY_SUFFIX) == (b"x-cmux-", b"-internal")
