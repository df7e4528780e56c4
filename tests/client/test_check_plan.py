"""The questions that a route stands for."""

import pytest

from cmux_proxy.client.check_plan import Route
from cmux_proxy.client.proxy_url import ProxyUrl

PROXY = ProxyUrl("127.0.0.1", 8080, False)


def route(port: int | None = 3000, host: str | None = None, workspace: str | None = None) -> Route:
    return Route.of(PROXY, port, host, workspace, "/x", [("X-Cmux-Token", "t")])


@pytest.mark.parametrize(
    ("workspace", "host"),
    [(None, "3000.localhost:8080"), ("a-1", "a-1-3000.localhost:8080"),
     ("/home/a-1", "a-1-3000.localhost:8080")],
)  # fmt: skip
def test_without_a_host_it_is_the_one_of_a_browser(workspace: str | None, host: str) -> None:
    assert route(workspace=workspace).host == host


def test_with_a_port_the_field_names_it_whatever_the_host_says() -> None:
    one = route(host="app.example", workspace="a-1")
    rest = [
        ("X-Cmux-Token", "t"),
        ("X-Cmux-Port-Internal", "3000"),
        ("X-Cmux-Workspace-Internal", "a-1"),
        ("Accept", "*/*"),
    ]
    assert one.usual() == ("/x", [("Host", "localhost:3000"), *rest])
    assert one.foreign() == ("/x", [("Host", "app.example"), *rest])


@pytest.mark.parametrize(
    ("host", "port", "workspace"),
    [
        ("3000.localhost", 3000, None),
        ("3000.localhost:8080", 3000, None),
        ("A-1-3000.dev.example.com", 3000, "a-1"),
    ],
)
def test_without_a_port_the_host_names_it_alone(
    host: str, port: int, workspace: str | None
) -> None:
    one = route(None, host)
    assert (one.port, one.workspace) == (port, workspace)
    assert one.foreign().fields == [("Host", host), ("X-Cmux-Token", "t"), ("Accept", "*/*")]
    assert ("X-Cmux-Port-Internal", "3000") in one.usual().fields


@pytest.mark.parametrize("host", ["localhost", "3000", "app.example", "0.localhost", "[::1]:3000"])
def test_a_host_that_names_no_port_is_not_enough(host: str) -> None:
    with pytest.raises(ValueError, match="does not begin with a port"):
        route(None, host)


def test_the_proxy_is_asked_for_a_port_that_there_is_not() -> None:
    path, fields = route().probe()
    assert path == "/"
    assert list(fields)[-2:] == [("X-Cmux-Token", "t"), ("X-Cmux-Port-Internal", "0")]


def test_an_upgrade_comes_from_a_page_of_the_same_host() -> None:
    for is_foreign, host in ((False, "localhost:3000"), (True, "a.example")):
        fields = dict(route(host="a.example").upgrade(is_foreign).fields)
        assert (fields["Host"], fields["Origin"]) == (host, f"http://{host}")
        assert (fields["Connection"], fields["Upgrade"]) == ("Upgrade", "websocket")
        assert len(fields["Sec-WebSocket-Key"]) == 24
        assert fields["X-Cmux-Port-Internal"] == "3000"
    by_host = dict(route(None, "3000.a.example").upgrade(is_foreign=True).fields)
    assert "X-Cmux-Port-Internal" not in by_host


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("x.localhost", True),
     ("vm", False), ("192.0.2.1", False)],
)  # fmt: skip
def test_a_proxy_on_the_loopback_is_of_this_machine(host: str, is_here: bool) -> None:
    one = Route.of(ProxyUrl(host, 80, False), 1, None, None, "/", [])
    assert one.is_of_this_machine == is_here
