"""Checks of routes, against proxies and services that run."""

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
from tests.helpers.hosts import careful_server
from tests.helpers.messages import Message
from tests.helpers.origins import Behaviour, Visit, answer, answering, length, origin, silent
from tests.helpers.proxies import local_config
from tests.helpers.script import SWITCHING, Stage, head, stage
from tests.helpers.timing import MS, SOON
from tests.helpers.wire import closed_port
from tests.helpers.workspaces import registry, running, serving

__all__ = ["registry"]

Found = dict[str, CheckResult]


def url(on: Stage) -> ProxyUrl:
    return ProxyUrl(on.address.host, on.address.port, False)


async def examined(proxy: ProxyUrl, timeout: float = SOON, **route: Any) -> Found:
    """Return what the checks of a route say, by their names and in their order."""
    given = {"port": None, "host": None, "workspace": None, "path": "/", "extra": [], **route}
    checks = Checks(Route.of(proxy, **given), timeout)
    verdicts = await asyncio.to_thread(lambda: list(checks.run()))
    return {each.name: each for each in verdicts}


def kinds(found: Found) -> dict[str, str]:
    return {name: each.kind for name, each in found.items()}


async def test_a_service_that_works_has_no_problem() -> None:
    async with stage() as on, origin(length(b"hello\n")) as upstream:
        found = await examined(url(on), port=upstream.port)
    expected = dict.fromkeys(["proxy", "bound", "route", "host", "websocket", "stream"], OK)
    assert kinds(found) == {**expected, "websocket": NOTE}
    assert list(found) == list(expected)
    assert found["bound"].says.startswith(f"127.0.0.1:{upstream.port} (")
    assert found["bound"].says.endswith("): IPv4")
    assert found["route"].says.startswith("GET / gets 200 after ")


async def test_a_service_that_refuses_foreign_hosts_is_found_out_and_the_remedy_helps() -> None:
    with careful_server() as port:
        async with stage() as on:
            host = f"{port}.localhost:{on.address.port}"
            found = await examined(url(on), port=port)
            assert found["host"] == CheckResult(
                PROBLEM,
                "host",
                f"Host {host} gets 403 (Blocked request. This host is not allowed.), "
                f"localhost:{port} 200",
                "start the proxy with --host-header upstream --rewrite-origin, or allow the host "
                "in the service's own settings",
            )
            found = await examined(url(on), port=port, host="localhost")
            assert found["host"].kind == OK
        rewriting = Rewriting(host_header="upstream", rewrite_origin=True)
        async with stage(local_config(rewriting=rewriting)) as on:
            found = await examined(url(on), port=port, host="app.example")
            assert found["host"] == CheckResult(OK, "host", "Host app.example gets 200")


async def test_a_host_that_is_sent_elsewhere_is_taken() -> None:
    def reply(asked: Message) -> bytes:
        if asked.field("host") == "a.example":
            return answer(b"", "Location: /", status="302 Found")
        return answer(b"hello\n")

    async with stage() as on, origin(answering(reply)) as upstream:
        found = await examined(url(on), port=upstream.port, host="a.example")
    assert found["host"] == CheckResult(OK, "host", "Host a.example gets 302")


async def test_a_service_on_ipv6_alone_is_told() -> None:
    async with stage() as on, origin(length(b"hello\n"), "::1") as upstream:
        found = await examined(url(on), port=upstream.port)
    assert PROBLEM not in kinds(found).values()
    assert found["bound"].says.startswith(f"[::1]:{upstream.port} (")
    assert found["bound"].says.endswith(
        "): IPv6 only, which the proxy finds; others may have to ask for [::1]"
    )


async def test_where_nothing_listens_it_says_what_does_instead() -> None:
    async with stage() as on:
        with closed_port() as port:
            found = await examined(url(on), port=port)
    assert kinds(found) == {"proxy": OK, "bound": PROBLEM, "route": PROBLEM}
    assert found["bound"].says == f"nothing listens on port {port} of 127.0.0.1 or ::1"
    assert found["bound"].remedy.startswith("start the service or check the port; ports in use: ")
    assert found["route"].says.startswith("the proxy answers 502: nothing listens on 127.0.0.1:")


async def test_a_port_that_listens_elsewhere_is_told() -> None:
    async with stage() as on, origin(length(b"hello\n"), "127.18.0.7") as upstream:
        found = await examined(url(on), port=upstream.port)
        assert found["bound"].kind == PROBLEM
        assert found["bound"].remedy.endswith("is in workspace 7: --workspace 7")
        found = await examined(url(on), port=upstream.port, workspace="a-7")
        assert PROBLEM not in kinds(found).values()


async def test_a_workspace_that_is_isolated_is_looked_into(registry: Path) -> None:
    async with stage() as on:
        with running("a-1", "sleep", "60"):
            found = await examined(url(on), port=3000, workspace="a-1")
            assert kinds(found) == {"proxy": OK, "bound": PROBLEM, "route": PROBLEM}
            found = await examined(url(on), port=on.port, workspace="a-1")
            assert found["bound"].remedy.endswith("cmux-proxy run starts it inside")
            with serving("a-1", "127.0.0.1", 3000) as process:
                found = await examined(url(on), port=3000)
                assert found["bound"].remedy.endswith("is in workspace a-1: --workspace a-1")
                found = await examined(url(on), 100 * MS, port=3000, workspace="a-1")
                assert found["bound"].kind == OK
                assert f"({process.pid}, " in found["bound"].says


async def test_a_proxy_that_looks_elsewhere_is_found_out_by_comparison() -> None:
    config = local_config(upstream_host="127.0.0.3")
    async with stage(config) as on, origin(length(b"hello\n")) as upstream:
        found = await examined(url(on), port=upstream.port)
        assert kinds(found) == {"proxy": OK, "bound": OK, "route": PROBLEM}
        assert found["route"].remedy.startswith("it listens here: is that proxy in a container")
        # The other way round, what nobody listens on here may be there.
        async with origin(length(b"hello\n"), "127.0.0.3") as other:
            found = await examined(url(on), port=other.port)
        assert found["bound"].kind == NOTE
        assert PROBLEM not in kinds(found).values()


async def test_a_proxy_of_another_machine_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Route, "is_of_this_machine", False)
    async with stage() as on, origin(length(b"hello\n")) as upstream:
        found = await examined(url(on), port=upstream.port)
    assert found["bound"].kind == NOTE
    assert found["bound"].says.endswith("is another machine; look there")
    assert found["route"].kind == OK


async def test_a_host_alone_has_to_lead_to_the_port() -> None:
    async with origin(length(b"hello\n")) as upstream:
        host = f"{upstream.port}.localhost"
        async with stage() as on:
            assert PROBLEM not in kinds(await examined(url(on), host=host)).values()
            found = await examined(url(on), host=f"{upstream.port}.a.example")
            assert found["host"].kind == PROBLEM
            assert "answers 400: missing required header" in found["host"].says


# WebSockets


async def greet(connection: ServerConnection) -> None:
    await connection.wait_closed()


def check_origin(connection: ServerConnection, request: Request) -> Response | None:
    """Refuse what does not come from a page of localhost."""
    if request.headers["Origin"].startswith("http://localhost:"):
        return None
    return connection.respond(http.HTTPStatus.FORBIDDEN, "not from there\n")


async def test_a_websocket_is_switched_to() -> None:
    async with stage() as on, serve(greet, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        found = await examined(url(on), port=port)
        assert found["websocket"] == CheckResult(OK, "websocket", "/ switches: 101")


async def test_a_websocket_that_minds_the_origin_is_found_out_and_the_remedy_helps() -> None:
    async with serve(greet, "127.0.0.1", 0, process_request=check_origin) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with stage() as on:
            found = await examined(url(on), port=port, host="a.example")
            assert found["websocket"] == CheckResult(
                PROBLEM,
                "websocket",
                f"Host and Origin a.example get 403 (not from there), localhost:{port} 101",
                "start the proxy with --host-header upstream --rewrite-origin",
            )
        rewriting = Rewriting(host_header="upstream", rewrite_origin=True)
        async with stage(local_config(rewriting=rewriting)) as on:
            found = await examined(url(on), port=port, host="a.example")
            assert found["websocket"].kind == OK


@pytest.mark.parametrize("says_nothing", [False, True])
async def test_a_service_that_knows_no_upgrade_may_close_or_say_nothing(says_nothing: bool) -> None:
    async def plain(visit: Visit) -> None:
        while asked := await visit.request():
            if asked.field("upgrade") is None:
                await visit.say(answer(b"hello\n"))
            elif not says_nothing:
                return

    async with stage() as on, origin(plain) as upstream:
        found = await examined(url(on), 200 * MS, port=upstream.port)
    assert found["websocket"].kind == NOTE
    assert found["websocket"].says.startswith("none at /, see --path: ")
    assert PROBLEM not in kinds(found).values()


async def test_a_websocket_that_says_nothing_to_a_foreign_host_is_a_problem() -> None:
    async def only_local(visit: Visit) -> None:
        while asked := await visit.request():
            if asked.field("upgrade") is None:
                await visit.say(answer(b"hello\n"))
            elif str(asked.field("host")).startswith("localhost:"):
                await visit.say(SWITCHING)

    async with stage() as on, origin(only_local) as upstream:
        found = await examined(url(on), 200 * MS, port=upstream.port, host="a.example")
    assert found["websocket"].kind == PROBLEM
    assert found["websocket"].is_timeout


# Streams


async def stalled(visit: Visit) -> None:
    """Send a head, and nothing of the body."""
    while await visit.request():
        await visit.say(head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"))


async def test_a_body_that_does_not_begin_is_compared_with_what_comes_without_the_proxy() -> None:
    async with stage() as on, origin(stalled) as upstream:
        found = await examined(url(on), 100 * MS, port=upstream.port)
    assert found["stream"] == CheckResult(
        PROBLEM,
        "stream",
        f"the head came, and nothing of the body within {100 * MS:g} s",
        "so it is without the proxy: have the service flush what it has written",
        True,
    )


async def test_what_is_only_late_behind_the_proxy_is_told_apart() -> None:
    async def only_first(visit: Visit) -> None:
        while asked := await visit.request():
            # Nobody but the proxy asks with a token, which it does not pass on.
            is_direct = asked.field("x-cmux-token") is not None
            await (visit.say(answer(b"hello")) if is_direct else _begin(visit))

    async def _begin(visit: Visit) -> None:
        await visit.say(head("HTTP/1.1 200 OK", "Content-Length: 5"))

    async with stage() as on, origin(only_first) as upstream:
        extra = [("X-Cmux-Token", "t")]
        found = await examined(url(on), 100 * MS, port=upstream.port, extra=extra)
    assert found["stream"].kind == PROBLEM
    assert found["stream"].remedy.startswith("without the proxy it comes after ")


async def test_without_a_body_there_is_nothing_to_tell() -> None:
    async with stage() as on, origin(length(b"")) as upstream:
        assert (await examined(url(on), port=upstream.port))["stream"].kind == NOTE


# Services that do not answer


async def greeting(visit: Visit) -> None:
    await visit.say(b"SSH-2.0-x\r\n")
    await visit.request()


@pytest.mark.parametrize(
    ("behaviour", "remedy", "is_timeout"),
    [
        (greeting, "see the log", False),
        (silent, "see whether the service hangs", True),
    ],
    ids=["no HTTP", "silent"],
)
async def test_a_service_that_does_not_answer_is_told_in_the_words_of_the_proxy(
    behaviour: Behaviour, remedy: str, is_timeout: bool
) -> None:
    config = local_config(timeouts=Timeouts(response=0.05))
    async with stage(config) as on, origin(behaviour) as upstream:
        found = await examined(url(on), port=upstream.port)
    assert kinds(found) == {"proxy": OK, "bound": OK, "route": PROBLEM}
    assert found["route"].remedy.startswith(remedy)
    assert found["route"].is_timeout == is_timeout


async def test_a_service_that_hangs_is_a_timeout() -> None:
    async with stage() as on, origin(silent) as upstream:
        found = await examined(url(on), 50 * MS, port=upstream.port)
    assert kinds(found) == {"proxy": OK, "bound": OK, "route": PROBLEM}
    assert found["route"].is_timeout
    assert found["route"].remedy == "see whether the service hangs; --timeout waits longer"


# The proxy itself


async def test_where_no_proxy_is_another_one_is_named() -> None:
    async with stage() as on:
        with closed_port() as port:
            found = await examined(ProxyUrl("127.0.0.1", port, False), port=on.port)
    assert kinds(found) == {"proxy": PROBLEM, "bound": OK}
    assert found["proxy"].says.endswith(": Connection refused")
    assert found["proxy"].remedy.startswith(("start it: cmux-proxy", "--proxy http://"))


async def test_what_is_no_proxy_is_told() -> None:
    async with origin(length(b"hello\n", "Content-Type: text/plain")) as upstream:
        found = await examined(ProxyUrl("127.0.0.1", upstream.port, False), port=1)
    says = f"http://127.0.0.1:{upstream.port} answers 200 (hello), but not as a cmux-proxy"
    assert found["proxy"].says == says


async def test_a_token_is_asked_for_and_taken() -> None:
    config = local_config(access=Access(tokens=["secret"]))
    async with stage(config) as on, origin(length(b"hello\n")) as upstream:
        found = await examined(url(on), port=upstream.port)
        assert found["proxy"].says.startswith("the proxy answers 401: a token is needed")
        assert found["proxy"].remedy == "--token-file FILE"
        extra = [("X-Cmux-Token", "secret")]
        found = await examined(url(on), port=upstream.port, extra=extra)
        assert PROBLEM not in kinds(found).values()


async def test_the_proxy_alone_can_be_checked() -> None:
    async with stage() as on:
        route = Route.of(url(on), 1, None, None, "/", [])
        verdict = await asyncio.to_thread(check_proxy, route, SOON, [])
        assert verdict == CheckResult(OK, "proxy", f"http://{on.address} is a cmux-proxy")
