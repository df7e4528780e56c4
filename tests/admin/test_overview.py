"""What the dashboard shows: each port once, and of long lists the part that matters."""

from typing import Any

import pytest

from cmux_proxy.admin import overview as module
from cmux_proxy.admin.overview import overview
from cmux_proxy.admin.reachability import Reachability
from cmux_proxy.config.proxy_config import Address
from cmux_proxy.machine.listening import ListeningPort
from cmux_proxy.observe.counters import BUCKETS

NOW = 1_800_000_000.0
REACH = Reachability([Address("127.0.0.1", 8080)], Address("127.0.0.1", 9179), ["localhost"])


def listens(port: int, address: str = "127.0.0.1", workspace: str | None = None) -> ListeningPort:
    return ListeningPort(port, address, workspace, 4711, "node server.js")


def asked(port: int, host: str = "127.0.0.1", workspace: str = "", **more: Any) -> dict[str, Any]:
    """Return what a merged snapshot has of a port."""
    answers = {"buckets": [2] + [0] * len(BUCKETS), "total": 0.001}
    return {
        "host": host, "port": port, "workspace": workspace, "requests": 1, "tunnels": 0,
        "count": 3, "errors": 1, "received": 10, "sent": 20, "answers": answers,
        "last_request": NOW - 1, "last_byte": NOW - 1, **more,
    }  # fmt: skip


def error(at: float, **more: Any) -> dict[str, Any]:
    return {
        "time": at, "client": "127.0.0.1", "kind": "request", "method": "GET", "path": "/a",
        "status": 502, "port": 3000, "workspace": None, "upstream": "127.0.0.1:3000",
        "error": "connection_refused", "seconds": 0.1, **more,
    }  # fmt: skip


def tunnel(since: float, state: str = "tunnel") -> dict[str, Any]:
    return {
        "state": state, "since": since, "client": "127.0.0.1", "kind": "upgrade", "path": "/ws",
        "port": 3000, "workspace": None, "upstream": "127.0.0.1:3000", "bytes_in": 1,
        "bytes_out": 2, "method": "GET", "status": 101,
    }  # fmt: skip


def told(
    ports: list[dict[str, Any]] | None = None,
    recent: list[dict[str, Any]] | None = None,
    connections: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "time": NOW, "is_draining": False, "in_flight": 1, "tunnels": {"upgrade": 2}, "workers": 1,
        "build": {"version": "1"}, "clients": 4, "ports": ports or [], "recent": recent or [],
        "connections": connections or [],
    }  # fmt: skip


def rows(
    ports: list[dict[str, Any]], found: list[ListeningPort], reach: Reachability = REACH
) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = overview(told(ports), found, reach)["ports"]
    return shown


def test_a_port_that_listens_and_was_never_asked_for_has_no_figures() -> None:
    assert rows([], [listens(3000)]) == [
        {
            "host": "127.0.0.1", "port": 3000, "workspace": None, "isolated": False,
            "listens": True, "reached": True, "own": None, "asked": None, "label": "3000",
            "at": [{"address": "127.0.0.1", "pid": 4711, "command": "node server.js"}],
        }
    ]  # fmt: skip


def test_a_port_that_was_asked_for_and_does_not_listen_is_shown_too() -> None:
    (row,) = rows([asked(3000)], [])
    assert (row["listens"], row["at"], row["label"]) == (False, [], "3000")
    assert row["asked"] == {
        "requests": 1, "tunnels": 0, "total_requests": 3, "total_errors": 1, "bytes_in": 10,
        "bytes_out": 20, "last_request": NOW - 1, "answers": [2] + [0] * len(BUCKETS),
    }  # fmt: skip


def test_whether_another_machine_listens_is_not_known() -> None:
    (row,) = rows([asked(3000, "agent.example", "agent")], [listens(3000)][:0])
    assert (row["listens"], row["label"]) == (None, "agent-3000")


def test_both_loopbacks_are_one_port() -> None:
    (row,) = rows([asked(3000)], [listens(3000), listens(3000, "::1")])
    assert [place["address"] for place in row["at"]] == ["127.0.0.1", "::1"]
    assert row["asked"] is not None


def test_workers_that_share_an_address_are_named_once() -> None:
    (row,) = rows([], [listens(3000), listens(3000)._replace(pid=4712)])
    assert [place["pid"] for place in row["at"]] == [4711]


def test_the_same_port_in_several_workspaces_is_several() -> None:
    found = [
        listens(3000),
        listens(3000, "127.0.0.1", "agent-1"),
        listens(3000, "127.18.0.2", "2"),
    ]
    asked_for = [asked(3000), asked(3000, "127.18.0.1", "agent-1"), asked(3000, "127.18.0.2", "b2")]
    shown = rows(asked_for, found)
    assert [(row["host"], row["workspace"], row["isolated"], row["label"]) for row in shown] == [
        ("127.0.0.1", None, False, "3000"),
        ("127.18.0.1", "agent-1", True, "agent-1-3000"),
        ("127.18.0.2", "b2", False, "b2-3000"),
    ]
    assert all(row["listens"] and row["asked"] for row in shown)


def test_what_listens_everywhere_listens_at_the_address_of_a_workspace_too() -> None:
    shown = rows([asked(3000, "127.18.0.3", "agent-3")], [listens(3000, "0.0.0.0")])
    assert [(row["host"], row["listens"], len(row["at"])) for row in shown] == [
        ("127.0.0.1", True, 1),
        ("127.18.0.3", True, 1),
    ]


def test_what_listens_inside_a_workspace_does_not_listen_elsewhere() -> None:
    shown = rows([asked(3000)], [listens(3000, "0.0.0.0", "agent-1")])
    assert [(row["host"], row["listens"]) for row in shown] == [
        ("127.0.0.1", False),
        ("127.18.0.1", True),
    ]


def test_what_the_proxy_does_not_reach_has_a_row_and_no_label() -> None:
    (row,) = rows([], [listens(3000, "192.0.2.1")])
    assert (row["host"], row["reached"], row["label"]) == ("192.0.2.1", False, None)


def test_the_proxys_own_listeners_are_marked_and_have_no_label() -> None:
    shown = rows([asked(8080)], [listens(8080), listens(9179)])
    assert [(row["own"], row["label"]) for row in shown] == [("proxy", None), ("admin", None)]


def test_the_order_is_that_of_ports_and_hosts_whatever_is_asked_for() -> None:
    found = [listens(8000), listens(3000)]
    assert [row["port"] for row in rows([asked(5000)], found)] == [3000, 5000, 8000]
    assert [row["port"] for row in rows([], found[::-1])] == [3000, 8000]


def test_of_too_many_ports_those_stay_that_listen_or_were_asked_for_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_PORTS", 2)
    ports = [asked(port, last_request=NOW - port) for port in (4000, 4001)]
    shown = overview(told(ports), [listens(9000)], REACH)
    assert [row["port"] for row in shown["ports"]] == [4000, 9000]
    assert shown["more_ports"] == 1
    # Those that are left out count all the same.
    assert shown["all"] == {
        "total_requests": 6, "total_errors": 2, "answers": [4] + [0] * len(BUCKETS)
    }  # fmt: skip


def test_the_newest_errors_come_first_and_the_same_again_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_ERRORS", 2)
    recent = [error(1, path="/0"), error(4), error(2, path="/b"), error(3)]
    errors = overview(told(recent=recent), [], REACH)["errors"]
    assert [(each["time"], each["path"], each["count"]) for each in errors] == [
        (4, "/a", 2),
        (2, "/b", 1),
    ]
    assert "client" not in errors[0]


def test_of_many_tunnels_the_oldest_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TUNNELS", 2)
    connections = [tunnel(3), tunnel(1), tunnel(0, "request"), tunnel(2)]
    shown = overview(told(connections=connections), [], REACH)
    assert [each["since"] for each in shown["open_tunnels"]] == [1, 2]
    assert shown["tunnels"] == 2


def test_it_says_how_the_proxy_is_reached() -> None:
    unix = Address("", 0, "/run/a.sock")
    reach = Reachability(
        [unix, Address("192.0.2.1", 80), Address("0.0.0.0", 8080)], None, ["localhost"]
    )
    assert overview(told(), [], reach)["proxy"] == {
        "addresses": ["unix:/run/a.sock", "192.0.2.1:80", "0.0.0.0:8080"],
        "local_port": 8080,
        "any_port": 80,
        "suffixes": ["localhost"],
    }
    assert overview(told(), [], Reachability())["proxy"]["any_port"] is None


def test_the_figures_of_all_are_there_and_the_bounds_of_the_buckets() -> None:
    shown = overview(told([asked(3000)]), [], REACH)
    names = ("time", "draining", "requests", "tunnels", "workers", "clients", "bounds")
    assert [shown[name] for name in names] == [NOW, False, 1, 2, 1, 4, BUCKETS]


def test_a_long_command_is_cut() -> None:
    each = ListeningPort(3000, "127.0.0.1", None, 4711, "java " + "x" * 5000)
    [row] = overview(told(), [each], Reachability())["ports"]
    assert row["at"][0]["command"] == "java " + "x" * 247 + "..."
