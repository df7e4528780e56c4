"""The JSON of the dashboard: each port once, and of long lists the part that matters."""

from typing import Any

from cmux_proxy.admin.overview import ListLimits, overview
from cmux_proxy.admin.reachability import Reachability
from cmux_proxy.config.address import Address
from cmux_proxy.machine.listening import ListeningPort
from cmux_proxy.observe.histogram import BUCKETS
from cmux_proxy.observe.record_fields import ConnectionFields, ErrorFields
from cmux_proxy.observe.worker_stats import PortKey, PortStats, WorkerStats
from tests.helpers.snapshots import NOW, port_stats, worker_stats

REACHABILITY = Reachability([Address("127.0.0.1", 8080)], Address("127.0.0.1", 9179), ["localhost"])
LOCAL = ("127.0.0.1", 3000)


def listens(port: int, address: str = "127.0.0.1", workspace: str | None = None) -> ListeningPort:
    return ListeningPort(port, address, workspace, 4711, "node server.js")


def error(time: float, path: str = "/a") -> ErrorFields:
    return {
        "time": time, "client": "127.0.0.1", "kind": "request", "method": "GET", "path": path,
        "status": 502, "port": 3000, "workspace": None, "upstream": "127.0.0.1:3000",
        "error": "connection_refused", "seconds": 0.1, "bytes_in": 1, "bytes_out": 2,
        "first_byte_seconds": None, "reused": False, "protocol": "HTTP/1.1",
    }  # fmt: skip


def tunnel(since: float) -> ConnectionFields:
    return {
        "state": "tunnel", "since": since, "client": "127.0.0.1", "kind": "upgrade", "path": "/ws",
        "port": 3000, "workspace": None, "upstream": "127.0.0.1:3000", "bytes_in": 1,
        "bytes_out": 2, "method": "GET", "status": 101,
    }  # fmt: skip


def stats_of(**values: Any) -> WorkerStats:
    return worker_stats(in_flight=1, tunnels={"upgrade": 2}, clients=4, **values)


def rows(
    ports: dict[PortKey, PortStats],
    sockets: list[ListeningPort],
    reachability: Reachability = REACHABILITY,
) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = overview(stats_of(ports=ports), sockets, reachability)["ports"]
    return shown


def test_a_port_that_listens_and_had_no_request_has_no_activity() -> None:
    assert rows({}, [listens(3000)]) == [
        {
            "host": "127.0.0.1", "port": 3000, "workspace": None, "isolated": False,
            "listens": True, "reached": True, "own": None, "asked": None, "label": "3000",
            "at": [{"address": "127.0.0.1", "pid": 4711, "command": "node server.js"}],
        }
    ]  # fmt: skip


def test_a_port_that_had_requests_and_does_not_listen_is_shown() -> None:
    (row,) = rows({LOCAL: port_stats()}, [])
    assert (row["listens"], row["at"], row["label"]) == (False, [], "3000")
    assert row["asked"] == {
        "requests": 1, "tunnels": 0, "total_requests": 3, "total_errors": 1, "bytes_in": 10,
        "bytes_out": 20, "last_request": NOW - 1, "answers": [2] + [0] * len(BUCKETS),
    }  # fmt: skip


def test_whether_a_port_of_another_machine_listens_is_unknown() -> None:
    (row,) = rows({("agent.example", 3000): port_stats(workspace="agent")}, [])
    assert (row["listens"], row["label"]) == (None, "agent-3000")


def test_both_loopbacks_are_one_port() -> None:
    (row,) = rows({LOCAL: port_stats()}, [listens(3000), listens(3000, "::1")])
    assert [socket["address"] for socket in row["at"]] == ["127.0.0.1", "::1"]
    assert row["asked"] is not None


def test_processes_that_share_an_address_are_listed_once() -> None:
    (row,) = rows({}, [listens(3000), listens(3000)._replace(pid=4712)])
    assert [socket["pid"] for socket in row["at"]] == [4711]


def test_the_same_port_in_several_workspaces_is_several() -> None:
    sockets = [
        listens(3000),
        listens(3000, "127.0.0.1", "agent-1"),
        listens(3000, "127.18.0.2", "2"),
    ]
    ports = {
        LOCAL: port_stats(),
        ("127.18.0.1", 3000): port_stats(workspace="agent-1"),
        ("127.18.0.2", 3000): port_stats(workspace="b2"),
    }
    shown = rows(ports, sockets)
    assert [(row["host"], row["workspace"], row["isolated"], row["label"]) for row in shown] == [
        ("127.0.0.1", None, False, "3000"),
        ("127.18.0.1", "agent-1", True, "agent-1-3000"),
        ("127.18.0.2", "b2", False, "b2-3000"),
    ]
    assert all(row["listens"] and row["asked"] for row in shown)


def test_what_listens_everywhere_listens_at_the_address_of_a_workspace_too() -> None:
    shown = rows(
        {("127.18.0.3", 3000): port_stats(workspace="agent-3")}, [listens(3000, "0.0.0.0")]
    )
    assert [(row["host"], row["listens"], len(row["at"])) for row in shown] == [
        ("127.0.0.1", True, 1),
        ("127.18.0.3", True, 1),
    ]


def test_what_listens_inside_a_workspace_does_not_listen_elsewhere() -> None:
    shown = rows({LOCAL: port_stats()}, [listens(3000, "0.0.0.0", "agent-1")])
    assert [(row["host"], row["listens"]) for row in shown] == [
        ("127.0.0.1", False),
        ("127.18.0.1", True),
    ]


def test_what_the_proxy_does_not_reach_has_a_row_and_no_label() -> None:
    (row,) = rows({}, [listens(3000, "192.0.2.1")])
    assert (row["host"], row["reached"], row["label"]) == ("192.0.2.1", False, None)


def test_the_proxys_own_listeners_are_marked_and_have_no_label() -> None:
    shown = rows({("127.0.0.1", 8080): port_stats()}, [listens(8080), listens(9179)])
    assert [(row["own"], row["label"]) for row in shown] == [("proxy", None), ("admin", None)]


def test_rows_are_ordered_by_port_and_host() -> None:
    sockets = [listens(8000), listens(3000)]
    ports = {("127.0.0.1", 5000): port_stats()}
    assert [row["port"] for row in rows(ports, sockets)] == [3000, 5000, 8000]
    assert [row["port"] for row in rows({}, sockets[::-1])] == [3000, 8000]


def test_of_too_many_ports_those_stay_that_listen_or_had_the_last_requests() -> None:
    ports = {("127.0.0.1", port): port_stats(last_request=NOW - port) for port in (4000, 4001)}
    limits = ListLimits(max_ports=2)
    shown = overview(stats_of(ports=ports), [listens(9000)], REACHABILITY, limits)
    assert [row["port"] for row in shown["ports"]] == [4000, 9000]
    assert shown["more_ports"] == 1
    # The totals include ports that are not shown.
    assert shown["all"] == {
        "total_requests": 6, "total_errors": 2, "answers": [4] + [0] * len(BUCKETS)
    }  # fmt: skip


def test_the_newest_errors_come_first_and_equal_ones_are_counted() -> None:
    recent = [error(1, path="/0"), error(4), error(2, path="/b"), error(3)]
    limits = ListLimits(max_errors=2)
    errors = overview(stats_of(recent=recent), [], REACHABILITY, limits)["errors"]
    assert [(entry["time"], entry["path"], entry["count"]) for entry in errors] == [
        (4, "/a", 2),
        (2, "/b", 1),
    ]
    assert "client" not in errors[0]


def test_of_many_tunnels_the_oldest_are_listed() -> None:
    request = tunnel(0)
    request["state"] = "request"
    connections = [tunnel(3), tunnel(1), request, tunnel(2)]
    limits = ListLimits(max_tunnels=2)
    shown = overview(stats_of(connections=connections), [], REACHABILITY, limits)
    assert [entry["since"] for entry in shown["open_tunnels"]] == [1, 2]
    assert shown["tunnels"] == 2


def test_it_has_the_addresses_at_which_the_proxy_is_reached() -> None:
    unix = Address("", 0, "/run/a.sock")
    reachability = Reachability(
        [unix, Address("192.0.2.1", 80), Address("0.0.0.0", 8080)], None, ["localhost"]
    )
    assert overview(stats_of(), [], reachability)["proxy"] == {
        "addresses": ["unix:/run/a.sock", "192.0.2.1:80", "0.0.0.0:8080"],
        "local_port": 8080,
        "any_port": 80,
        "suffixes": ["localhost"],
    }
    assert overview(stats_of(), [], Reachability())["proxy"]["any_port"] is None


def test_it_has_the_totals_and_the_bounds_of_the_buckets() -> None:
    shown = overview(stats_of(ports={LOCAL: port_stats()}), [], REACHABILITY)
    names = ("time", "draining", "requests", "tunnels", "workers", "clients", "bounds")
    assert [shown[name] for name in names] == [NOW, False, 1, 2, 1, 4, BUCKETS]


def test_a_long_command_is_cut() -> None:
    socket = ListeningPort(3000, "127.0.0.1", None, 4711, "java " + "x" * 5000)
    [row] = overview(stats_of(), [socket], Reachability())["ports"]
    assert row["at"][0]["command"] == "java " + "x" * 247 + "..."
