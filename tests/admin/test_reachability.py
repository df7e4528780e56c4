"""Whether and how a request reaches what listens."""

import pytest

from cmux_proxy import Config
from cmux_proxy.admin.reachability import Reachability, is_isolated, is_local
from cmux_proxy.config.address import Address
from cmux_proxy.config.sections import Observability, Routing
from cmux_proxy.machine.listening import ListeningPort


def at(address: str, workspace: str | None = None, port: int = 3000) -> ListeningPort:
    return ListeningPort(port, address, workspace, 4711, "node server.js")


ISOLATED = at("127.0.0.1", "agent-1")


@pytest.mark.parametrize(
    ("socket", "host"),
    [
        (at("127.0.0.1"), "127.0.0.1"),
        (at("::1"), "127.0.0.1"),
        (at("0.0.0.0"), "127.0.0.1"),
        (at("::"), "127.0.0.1"),
        (at("192.0.2.1"), None),
        (at("127.18.0.2", "2"), "127.18.0.2"),
        (ISOLATED, "127.18.0.1"),
        (at("::1", "agent-1"), "127.18.0.1"),
        (at("127.18.0.1", "agent-1"), "127.18.0.1"),
        (at("127.18.0.9", "agent-1"), None),
        (at("10.0.2.100", "agent-1"), None),
    ],
)
def test_a_target_is_what_the_proxy_would_connect_to(
    socket: ListeningPort, host: str | None
) -> None:
    assert Reachability().target_host(socket) == host


def test_with_another_upstream_host_the_loopback_is_not_reached() -> None:
    reachability = Reachability(upstream_host="192.0.2.1")
    assert reachability.target_host(at("127.0.0.1")) is None
    assert reachability.target_host(at("192.0.2.1")) == "192.0.2.1"
    assert Reachability(upstream_host="localhost").target_host(at("::1")) == "localhost"


def test_where_workspaces_are_machines_those_of_this_one_are_not_reached() -> None:
    reachability = Reachability(has_machines=True)
    assert reachability.target_host(ISOLATED) is None
    assert reachability.target_host(at("127.18.0.2", "2")) is None
    assert reachability.target_host(at("127.0.0.1")) == "127.0.0.1"


def test_a_workspace_whose_name_has_no_address_is_not_reached() -> None:
    assert Reachability().target_host(at("127.0.0.1", "agent-70000")) is None


def test_an_address_of_a_workspace_is_no_isolation() -> None:
    assert is_isolated(ISOLATED)
    assert is_isolated(at("127.18.0.9", "agent-1"))
    assert not is_isolated(at("127.18.0.2", "2"))
    assert not is_isolated(at("127.0.0.1"))


def test_the_proxys_own_listeners_are_recognised_by_address_and_port() -> None:
    reachability = Reachability([Address("127.0.0.1", 8080)], Address("::1", 9179))
    assert reachability.owner(at("127.0.0.1", port=8080)) == "proxy"
    assert reachability.owner(at("::1", port=9179)) == "admin"
    assert reachability.owner(at("127.0.0.2", port=8080)) is None
    assert reachability.owner(at("127.0.0.1", port=8081)) is None


@pytest.mark.parametrize(
    ("host", "workspace", "label"),
    [
        ("127.0.0.1", None, "3000"),
        ("127.18.0.1", "Agent-1", "agent-1-3000"),
        ("127.18.1.2", None, "258-3000"),
        # A label has no dots; the number stands for the same address.
        ("127.18.0.1", "my.agent-1", "1-3000"),
        ("127.18.0.1", "x" * 70 + "1", "1-3000"),
        ("agent.example", "my.agent", None),
        ("agent.example", None, None),
        ("192.0.2.1", None, None),
    ],
)
def test_the_first_label_of_a_host_leads_to_a_target(
    host: str, workspace: str | None, label: str | None
) -> None:
    assert Reachability().label(host, 3000, workspace) == label


def test_where_workspaces_are_machines_a_number_is_not_one_of_them() -> None:
    assert Reachability(has_machines=True).label("127.18.0.1", 3000, None) is None
    assert Reachability(has_machines=True).label("a.example", 3000, "a") == "a-3000"


@pytest.mark.parametrize(
    ("hosts", "port"),
    [
        (["192.0.2.1", "0.0.0.0"], 8001),
        (["127.0.0.1", "::1"], 8000),
        (["192.0.2.1"], None),
        ([], None),
    ],
)
def test_a_browser_on_this_machine_reaches_a_listener_of_the_loopback(
    hosts: list[str], port: int | None
) -> None:
    addresses = [Address(host, 8000 + index) for index, host in enumerate(hosts)]
    assert Reachability(addresses).local_port() == port
    assert Reachability([Address("", 0, "/run/a.sock"), *addresses]).local_port() == port


def test_it_is_taken_from_the_configuration() -> None:
    routing = Routing(workspace_host="{workspace}.example", host_suffixes=["dev.example"])
    observability = Observability(admin="127.0.0.1:9179")
    config = Config(upstream_host="localhost", routing=routing, observability=observability)
    bound = [Address("127.0.0.1", 8080)]
    suffixes = ["localhost", "dev.example"]
    expected = Reachability(bound, Address("127.0.0.1", 9179), suffixes, "localhost", True)
    assert Reachability.of(config, bound) == expected
    assert Reachability.of(Config(routing=Routing(no_host_routing=True)), bound) == Reachability(
        bound, None, []
    )


def test_only_loopbacks_are_certainly_local() -> None:
    assert is_local("127.18.0.1")
    assert is_local("::1")
    assert is_local("localhost")
    assert not is_local("192.0.2.1")
    assert not is_local("agent.example")
