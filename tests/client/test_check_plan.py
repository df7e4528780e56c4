"""The requests that check a route."""

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
def test_the_default_host_is_that_of_a_browser(workspace: str | None, host: str) -> None:
    assert route(workspace=workspace).host == host


def test_with_a_port_the_field_names_it_with_any_host() -> None:
    checked = route(host="app.example", workspace="a-1")
    others = [
        ("X-Cmux-Token", "t"),
        ("X-Cmux-Port-Internal", "3000"),
        ("X-Cmux-Workspace-Internal", "a-1"),
        ("Accept", "*/*"),
    ]
    assert checked.local_request() == ("/x", [("Host", "localhost:3000"), *others])
    assert checked.host_request() == ("/x", [("Host", "app.example"), *others])


@pytest.mark.parametrize(
    ("host", "port", "workspace"),
    [
        ("3000.localhost", 3000, None),
        ("3000.localhost:8080", 3000, None),
        ("A-1-3000.dev.example.com", 3000, "a-1"),
    ],
)
def test_without_a_port_only_the_host_names_it(host: str, port: int, workspace: str | None) -> None:
    checked = route(None, host)
    assert (checked.port, checked.workspace) == (port, workspace)
    assert checked.host_request().fields == [
        ("Host", host),
        ("X-Cmux-Token", "t"),
        ("Accept", "*/*"),
    ]
    assert ("X-Cmux-Port-Internal", "3000") in checked.local_request().fields


@pytest.mark.parametrize("host", ["localhost", "3000", "app.example", "0.localhost", "[::1]:3000"])
def test_a_host_without_a_port_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="does not begin with a port"):
        route(None, host)


def test_the_request_to_the_proxy_names_a_port_that_does_not_exist() -> None:
    path, fields = route().proxy_request()
    assert path == "/"
    assert list(fields)[-2:] == [("X-Cmux-Token", "t"), ("X-Cmux-Port-Internal", "0")]


def test_an_upgrade_comes_from_a_page_of_the_same_host() -> None:
    for is_local, host in ((True, "localhost:3000"), (False, "a.example")):
        fields = dict(route(host="a.example").upgrade_request(is_local).fields)
        assert (fields["Host"], fields["Origin"]) == (host, f"http://{host}")
        assert (fields["Connection"], fields["Upgrade"]) == ("Upgrade", "websocket")
        assert len(fields["Sec-WebSocket-Key"]) == 24
        assert fields["X-Cmux-Port-Internal"] == "3000"
    by_host = dict(route(None, "3000.a.example").upgrade_request(is_local=False).fields)
    assert "X-Cmux-Port-Internal" not in by_host


@pytest.mark.parametrize(
    ("host", "is_here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("x.localhost", True),
     ("vm", False), ("192.0.2.1", False)],
)  # fmt: skip
def test_a_proxy_on_the_loopback_is_on_this_machine(host: str, is_here: bool) -> None:
    checked = Route.of(ProxyUrl(host, 80, False), 1, None, None, "/", [])
    assert checked.is_on_this_machine == is_here
