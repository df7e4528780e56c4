"""What goes on at ports: what is under way, what has been, and what is forgotten."""

from cmux_proxy.observe.port_stats import MOST_PORTS, Ports


def test_a_port_has_what_is_under_way_and_what_has_been() -> None:
    ports = Ports()
    port = ports.of(("h", 1))
    port.began(10.0)
    port.began(11.0)
    port.ended(502, 0.5, 100, 200)
    port.tunnels += 1
    port.tunnel_ended(1, 2, 20.0)
    [[host, number, told]] = ports.snapshot(30.0)
    assert (host, number) == ("h", 1)
    assert told["requests"] == 1
    assert told["tunnels"] == 0
    assert (told["count"], told["errors"]) == (2, 1)
    assert (told["received"], told["sent"]) == (101, 202)
    assert (told["last_request"], told["last_byte"]) == (19.0, 10.0)
    assert told["answers"]["total"] == 0.5
    port.ended(499, 0.5, 0, 0)
    assert port.is_quiet()
    assert port.errors == 1


def test_a_tunnel_that_was_silent_does_not_make_a_port_older() -> None:
    port = Ports().of(("h", 1))
    port.began(10.0)
    port.tunnels += 1
    port.tunnel_ended(0, 0, 5.0)
    assert port.last_byte == 10.0


def test_ports_are_told_apart_by_host_and_number() -> None:
    ports = Ports()
    assert ports.of(("h", 1)) is ports.of(("h", 1))
    assert len({id(ports.of(key)) for key in [("h", 1), ("h", 2), ("g", 1)]}) == 3


def test_of_many_ports_the_quietest_are_forgotten_and_never_one_that_is_in_use() -> None:
    ports = Ports()
    busy = ports.of(("h", 0))
    busy.began(0.0)
    for number in range(1, MOST_PORTS):
        port = ports.of(("h", number))
        port.began(float(number))
        port.ended(200, 0.0, 0, 0)
    kept = ports.of(("h", MOST_PORTS - 1))
    ports.of(("h", MOST_PORTS))
    known = {number for _host, number, _told in ports.snapshot(0.0)}
    assert len(known) == MOST_PORTS - MOST_PORTS // 4 + 1
    assert ports.of(("h", 0)) is busy
    assert ports.of(("h", MOST_PORTS - 1)) is kept
    assert 1 not in known
