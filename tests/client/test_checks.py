"""Checks of routes, against running proxies and services."""

import asyncio
import http
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from cmux_proxy import Access, Rewriting, Timeouts
from cmux_proxy.client.check_plan import Route
from cmux_proxy.client.check_result import NOTE, OK, PROBLEM, CheckResult
from cmux_proxy.client.checks import Checks, check_proxy
from cmux_proxy.client.proxy_url import ProxyUrl
from tests.helpers.hosts import host_checking_server
from tests.helpers.messages import Message
from tests.helpers.origins import (
    Behaviour,
    OriginConnection,
    fixed_length,
    http_response,
    origin,
    responding,
    silent,
)
from tests.helpers.proxies import local_config
from tests.helpers.script import SWITCHING, Stage, head, stage
from tests.helpers.timing import MS, SOON
from tests.helpers.wire import closed_port
from tests.helpers.workspaces import registry, running, serving

__all__ = ["registry"]

Results = dict[str, CheckResult]


def url(proxy: Stage) -> ProxyUrl:
    return ProxyUrl(proxy.address.host, proxy.address.port, False)


async def check(proxy: ProxyUrl, timeout: float = SOON, **route: Any) -> Results:
    """Return the results of the checks of a route, by their names and in their order."""
    options = {
        "port": None, "host": None, "workspace": None, "path": "/", "extra_fields": [], **route,
    }  # fmt: skip
    checks = Checks(Route.of(proxy, **options), timeout)
    results = await asyncio.to_thread(lambda: list(checks.run()))
    return {result.name: result for result in results}


def levels(results: Results) -> dict[str, str]:
    return {name: result.level for name, result in results.items()}


async def test_a_service_that_works_has_no_problem() -> None:
    async with stage() as proxy, origin(fixed_length(b"hello\n")) as upstream:
        results = await check(url(proxy), port=upstream.port)
    expected = dict.fromkeys(["proxy", "bound", "route", "host", "websocket", "stream"], OK)
    assert levels(results) == {**expected, "websocket": NOTE}
    assert list(results) == list(expected)
    assert results["bound"].finding.startswith(f"127.0.0.1:{upstream.port} (")
    assert results["bound"].finding.endswith("): IPv4")
    assert results["route"].finding.startswith("GET / returns 200 after ")


async def test_a_service_that_refuses_other_hosts_is_a_problem_and_the_remedy_helps() -> None:
    with host_checking_server() as port:
        async with stage() as proxy:
            host = f"{port}.localhost:{proxy.address.port}"
            results = await check(url(proxy), port=port)
            assert results["host"] == CheckResult(
                PROBLEM,
                "host",
                f"Host {host} returns 403 (Blocked request. This host is not allowed.), "
                f"localhost:{port} 200",
                "start the proxy with --host-header upstream --rewrite-origin, or allow the host "
                "in the settings of the service",
            )
            results = await check(url(proxy), port=port, host="localhost")
            assert results["host"].level == OK
        rewriting = Rewriting(host_header="upstream", rewrite_origin=True)
        async with stage(local_config(rewriting=rewriting)) as proxy:
            results = await check(url(proxy), port=port, host="app.example")
            assert results["host"] == CheckResult(OK, "host", "Host app.example returns 200")


async def test_a_redirect_for_a_host_is_ok() -> None:
    def respond(request: Message) -> bytes:
        if request.field("host") == "a.example":
            return http_response(b"", "Location: /", status="302 Found")
        return http_response(b"hello\n")

    async with stage() as proxy, origin(responding(respond)) as upstream:
        results = await check(url(proxy), port=upstream.port, host="a.example")
    assert results["host"] == CheckResult(OK, "host", "Host a.example returns 302")


async def test_a_service_on_ipv6_only_is_named() -> None:
    async with stage() as proxy, origin(fixed_length(b"hello\n"), "::1") as upstream:
        results = await check(url(proxy), port=upstream.port)
    assert PROBLEM not in levels(results).values()
    assert results["bound"].finding.startswith(f"[::1]:{upstream.port} (")
    assert results["bound"].finding.endswith(
        "): IPv6 only; the proxy finds it, but other clients may need [::1]"
    )


async def test_without_a_listener_the_ports_in_use_are_listed() -> None:
    async with stage() as proxy:
        with closed_port() as port:
            results = await check(url(proxy), port=port)
    assert levels(results) == {"proxy": OK, "bound": PROBLEM, "route": PROBLEM}
    assert results["bound"].finding == f"nothing listens on port {port} of 127.0.0.1 or ::1"
    assert results["bound"].remedy.startswith("start the service or check the port; ports in use: ")
    assert results["route"].finding.startswith(
        "the proxy responds with 502: nothing listens on 127.0.0.1:"
    )


async def test_a_listener_in_another_workspace_is_named() -> None:
    async with stage() as proxy, origin(fixed_length(b"hello\n"), "127.18.0.7") as upstream:
        results = await check(url(proxy), port=upstream.port)
        assert results["bound"].level == PROBLEM
        assert results["bound"].remedy.endswith("is in workspace 7: --workspace 7")
        results = await check(url(proxy), port=upstream.port, workspace="a-7")
        assert PROBLEM not in levels(results).values()


async def test_listeners_of_an_isolated_workspace_are_found(registry: Path) -> None:
    async with stage() as proxy:
        with running("a-1", "sleep", "60"):
            results = await check(url(proxy), port=3000, workspace="a-1")
            assert levels(results) == {"proxy": OK, "bound": PROBLEM, "route": PROBLEM}
            results = await check(url(proxy), port=proxy.port, workspace="a-1")
            assert results["bound"].remedy.endswith("cmux-proxy run starts it inside")
            with serving("a-1", "127.0.0.1", 3000) as process:
                results = await check(url(proxy), port=3000)
                assert results["bound"].remedy.endswith("is in workspace a-1: --workspace a-1")
                results = await check(url(proxy), 100 * MS, port=3000, workspace="a-1")
                assert results["bound"].level == OK
                assert f"({process.pid}, " in results["bound"].finding


async def test_a_proxy_with_another_upstream_host_is_found_by_comparison() -> None:
    config = local_config(upstream_host="127.0.0.3")
    async with stage(config) as proxy, origin(fixed_length(b"hello\n")) as upstream:
        results = await check(url(proxy), port=upstream.port)
        assert levels(results) == {"proxy": OK, "bound": OK, "route": PROBLEM}
        assert results["route"].remedy.startswith(
            "a program listens here: does the proxy run in a container"
        )
        # A port without a listener here may have one there.
        async with origin(fixed_length(b"hello\n"), "127.0.0.3") as other:
            results = await check(url(proxy), port=other.port)
        assert results["bound"].level == NOTE
        assert PROBLEM not in levels(results).values()


async def test_listeners_of_another_machine_are_not_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Route, "is_on_this_machine", False)
    async with stage() as proxy, origin(fixed_length(b"hello\n")) as upstream:
        results = await check(url(proxy), port=upstream.port)
    assert results["bound"].level == NOTE
    assert results["bound"].finding.endswith("is another machine; check there")
    assert results["route"].level == OK


async def test_without_a_port_the_host_has_to_lead_to_it() -> None:
    async with origin(fixed_length(b"hello\n")) as upstream:
        host = f"{upstream.port}.localhost"
        async with stage() as proxy:
            assert PROBLEM not in levels(await check(url(proxy), host=host)).values()
            results = await check(url(proxy), host=f"{upstream.port}.a.example")
            assert results["host"].level == PROBLEM
            assert "responds with 400: missing required header" in results["host"].finding


# WebSockets


async def greet(connection: ServerConnection) -> None:
    await connection.wait_closed()


def check_origin(connection: ServerConnection, request: Request) -> Response | None:
    """Refuse requests that do not come from a page of localhost."""
    if request.headers["Origin"].startswith("http://localhost:"):
        return None
    return connection.respond(http.HTTPStatus.FORBIDDEN, "not from there\n")


async def test_a_websocket_is_opened() -> None:
    async with stage() as proxy, serve(greet, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        results = await check(url(proxy), port=port)
        assert results["websocket"] == CheckResult(OK, "websocket", "/ upgrades: 101")


async def test_a_websocket_that_checks_the_origin_is_a_problem_and_the_remedy_helps() -> None:
    async with serve(greet, "127.0.0.1", 0, process_request=check_origin) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with stage() as proxy:
            results = await check(url(proxy), port=port, host="a.example")
            assert results["websocket"] == CheckResult(
                PROBLEM,
                "websocket",
                f"Host and Origin a.example return 403 (not from there), localhost:{port} 101",
                "start the proxy with --host-header upstream --rewrite-origin",
            )
        rewriting = Rewriting(host_header="upstream", rewrite_origin=True)
        async with stage(local_config(rewriting=rewriting)) as proxy:
            results = await check(url(proxy), port=port, host="a.example")
            assert results["websocket"].level == OK


@pytest.mark.parametrize("is_silent", [False, True])
async def test_a_service_without_websockets_may_close_or_not_respond(is_silent: bool) -> None:
    async def plain(connection: OriginConnection) -> None:
        while request := await connection.request():
            if request.field("upgrade") is None:
                await connection.send(http_response(b"hello\n"))
            elif not is_silent:
                return

    async with stage() as proxy, origin(plain) as upstream:
        results = await check(url(proxy), 200 * MS, port=upstream.port)
    assert results["websocket"].level == NOTE
    assert results["websocket"].finding.startswith("none at /, see --path: ")
    assert PROBLEM not in levels(results).values()


async def test_a_websocket_that_is_silent_to_a_foreign_host_is_a_problem() -> None:
    async def only_local(connection: OriginConnection) -> None:
        while request := await connection.request():
            if request.field("upgrade") is None:
                await connection.send(http_response(b"hello\n"))
            elif str(request.field("host")).startswith("localhost:"):
                await connection.send(SWITCHING)

    async with stage() as proxy, origin(only_local) as upstream:
        results = await check(url(proxy), 200 * MS, port=upstream.port, host="a.example")
    assert results["websocket"].level == PROBLEM
    assert results["websocket"].is_timeout


# Streams


async def stalled(connection: OriginConnection) -> None:
    """Send a head without a body."""
    while await connection.request():
        await connection.send(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))


async def test_a_body_that_does_not_begin_is_compared_with_one_without_the_proxy() -> None:
    async with stage() as proxy, origin(stalled) as upstream:
        results = await check(url(proxy), 100 * MS, port=upstream.port)
    assert results["stream"] == CheckResult(
        PROBLEM,
        "stream",
        f"the response head arrived, but no body within {100 * MS:g} s",
        "the same happens without the proxy: let the service flush its output",
        True,
    )


async def test_a_body_that_is_late_only_through_the_proxy_is_named() -> None:
    async def only_first(connection: OriginConnection) -> None:
        while request := await connection.request():
            # The proxy removes the token, so that only a direct request has one.
            is_direct = request.field("x-cmux-token") is not None
            await (connection.send(http_response(b"hello")) if is_direct else _begin(connection))

    async def _begin(connection: OriginConnection) -> None:
        await connection.send(head("HTTP/1.1 200 OK", "Content-Length: 5"))

    async with stage() as proxy, origin(only_first) as upstream:
        extra_fields = [("X-Cmux-Token", "t")]
        results = await check(url(proxy), 100 * MS, port=upstream.port, extra_fields=extra_fields)
    assert results["stream"].level == PROBLEM
    assert results["stream"].remedy.startswith("without the proxy it arrives after ")


async def test_a_response_without_a_body_is_a_note() -> None:
    async with stage() as proxy, origin(fixed_length(b"")) as upstream:
        assert (await check(url(proxy), port=upstream.port))["stream"].level == NOTE


# Services that do not respond


async def greeting(connection: OriginConnection) -> None:
    await connection.send(b"SSH-2.0-x\r\n")
    await connection.request()


@pytest.mark.parametrize(
    ("behaviour", "remedy", "is_timeout"),
    [
        (greeting, "check the log", False),
        (silent, "check whether the service hangs", True),
    ],
    ids=["no HTTP", "silent"],
)
async def test_a_service_that_does_not_respond_has_the_error_of_the_proxy(
    behaviour: Behaviour, remedy: str, is_timeout: bool
) -> None:
    config = local_config(timeouts=Timeouts(response=0.05))
    async with stage(config) as proxy, origin(behaviour) as upstream:
        results = await check(url(proxy), port=upstream.port)
    assert levels(results) == {"proxy": OK, "bound": OK, "route": PROBLEM}
    assert results["route"].remedy.startswith(remedy)
    assert results["route"].is_timeout == is_timeout


async def test_a_service_that_hangs_is_a_timeout() -> None:
    async with stage() as proxy, origin(silent) as upstream:
        results = await check(url(proxy), 50 * MS, port=upstream.port)
    assert levels(results) == {"proxy": OK, "bound": OK, "route": PROBLEM}
    assert results["route"].is_timeout
    assert results["route"].remedy == "check whether the service hangs; --timeout waits longer"


# The proxy itself


async def test_another_proxy_is_named_if_there_is_none() -> None:
    async with stage() as proxy:
        with closed_port() as port:
            results = await check(ProxyUrl("127.0.0.1", port, False), port=proxy.port)
    assert levels(results) == {"proxy": PROBLEM, "bound": OK}
    assert results["proxy"].finding.endswith(": Connection refused")
    assert results["proxy"].remedy.startswith(("start it: cmux-proxy", "--proxy http://"))


async def test_a_server_that_is_no_proxy_is_a_problem() -> None:
    async with origin(fixed_length(b"hello\n", "Content-Type: text/plain")) as upstream:
        results = await check(ProxyUrl("127.0.0.1", upstream.port, False), port=1)
    finding = f"http://127.0.0.1:{upstream.port} responds with 200 (hello), but is no cmux-proxy"
    assert results["proxy"].finding == finding


async def test_a_token_is_required_and_accepted() -> None:
    config = local_config(access=Access(tokens=["secret"]))
    async with stage(config) as proxy, origin(fixed_length(b"hello\n")) as upstream:
        results = await check(url(proxy), port=upstream.port)
        assert results["proxy"].finding.startswith("the proxy responds with 401: a token is needed")
        assert results["proxy"].remedy == "--token-file FILE"
        extra_fields = [("X-Cmux-Token", "secret")]
        results = await check(url(proxy), port=upstream.port, extra_fields=extra_fields)
        assert PROBLEM not in levels(results).values()


async def test_the_proxy_alone_can_be_checked() -> None:
    async with stage() as proxy:
        route = Route.of(url(proxy), 1, None, None, "/", [])
        result = await asyncio.to_thread(check_proxy, route, SOON, [])
        assert result == CheckResult(OK, "proxy", f"http://{proxy.address} is a cmux-proxy")
