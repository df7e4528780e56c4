"""Activity of ports: what is under way, what has been, and what is forgotten."""

from cmux_proxy.observe.port_activity import MAX_PORTS, Ports
from cmux_proxy.routing.target import Target


def test_a_port_has_what_is_under_way_and_what_has_been() -> None:
    port = Ports().of(("h", 1))
    port.began(10.0)
    port.began(11.0)
    port.ended(502, 0.5, 100, 200)
    port.tunnels += 1
    port.tunnel_ended(1, 2, 20.0)
    assert port.requests == 1
    assert port.tunnels == 0
    assert (port.count, port.errors) == (2, 1)
    assert (port.received, port.sent) == (101, 202)
    assert (port.last_request, port.last_byte) == (11.0, 20.0)
    assert port.durations.total == 0.5
    port.ended(499, 0.5, 0, 0)
    assert port.is_idle()
    assert port.errors == 1


def test_a_tunnel_that_was_silent_does_not_make_a_port_older() -> None:
    port = Ports().of(("h", 1))
    port.began(10.0)
    port.tunnels += 1
    port.tunnel_ended(0, 0, 5.0)
    assert port.last_byte == 10.0


def test_ports_are_distinguished_by_host_and_number() -> None:
    ports = Ports()
    assert ports.of(("h", 1)) is ports.of(("h", 1))
    targets = [("h", 1), ("h", 2), ("g", 1)]
    assert len({id(ports.of(target)) for target in targets}) == 3
    assert list(ports.all()) == targets


def test_of_too_many_ports_the_quietest_are_forgotten_and_never_a_busy_one() -> None:
    ports = Ports()
    busy = ports.of(("h", 0))
    busy.began(0.0)
    for number in range(1, MAX_PORTS):
        port = ports.of(("h", number))
        port.began(float(number))
        port.ended(200, 0.0, 0, 0)
    kept = ports.of(("h", MAX_PORTS - 1))
    ports.of(("h", MAX_PORTS))
    known = {number for _host, number in ports.all()}
    assert len(known) == MAX_PORTS - MAX_PORTS // 4 + 1
    assert ports.of(("h", 0)) is busy
    assert ports.of(("h", MAX_PORTS - 1)) is kept
    assert 1 not in known


def test_a_port_is_one_with_tls_and_without() -> None:
    ports = Ports()
    assert ports.of(Target("a", 1, "https")) is ports.of(Target("a", 1))
    assert list(ports.all()) == [("a", 1)]
