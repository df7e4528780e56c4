"""The format of an error response, chosen by the request: text, JSON or HTML."""

import json
import socket

import pytest

from cmux_proxy import Access, Config, Target
from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.http1.local_reply import Content, text_content
from cmux_proxy.machine.listening import find_ports_at
from cmux_proxy.observe.outcome import Outcome
from cmux_proxy.relay.error_content import error_content
from cmux_proxy.relay.failures import Failure
from tests.helpers.fakes import World
from tests.helpers.judging import request_head
from tests.helpers.script import head

FAILURE = Failure(502, 'no "thing"', "connection_refused", Outcome.UNAVAILABLE)
NAVIGATES = "Sec-Fetch-Mode: navigate"


def content(
    *lines: str,
    method: str = "GET",
    world: World | None = None,
    target: Target | None = None,
) -> Content:
    services = (world or World()).services
    scanned = request_head(head(f"{method} / HTTP/1.1", "Host: 80.localhost", *lines))
    request = Http1Request(scanned)
    return error_content(services, request, FAILURE, target)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Accept: */*",),
        ("Accept: text/html,application/xhtml+xml;q=0.9",),
        ("Accept: application/*",),
        ("Accept: application/jsonp",),
        ("Accept: application/json;q=0",),
        ("Accept: application/json;q=0.5, text/plain",),
        ("Accept: application/json;q=x",),
        ("Accept:",),
        ("Sec-Fetch-Mode: cors",),
        ("X-Accept: application/json",),
    ],
)
def test_plain_text_is_the_default(lines: tuple[str, ...]) -> None:
    assert content(*lines) == text_content('no "thing"')


@pytest.mark.parametrize(
    "lines",
    [
        ("Accept: application/json",),
        ("accept: APPLICATION/JSON ; q=0.5",),
        ("Accept: application/json, text/plain, */*",),
        ("Accept: text/html;q=0.8", "Accept: application/json;charset=utf-8"),
        ("Accept: application/json;q=0.5, text/plain;q=0.1",),
    ],
)
def test_json_is_sent_if_accept_names_it(lines: tuple[str, ...]) -> None:
    got = content(*lines)
    assert got.media_type == "application/json"
    assert got.fields == b"Vary: Accept, Sec-Fetch-Mode\r\n"
    assert got.body.endswith(b"}\n")
    assert json.loads(got.body) == {
        "status": 502, "error": "connection_refused", "message": 'no "thing"',
    }  # fmt: skip


@pytest.mark.parametrize("lines", [(), ("Accept: application/json",)])
def test_a_navigation_gets_a_page(lines: tuple[str, ...]) -> None:
    got = content(NAVIGATES, *lines)
    assert got.media_type == "text/html; charset=utf-8"
    assert b"Content-Security-Policy: " in got.fields
    assert got.fields.endswith(b"\r\nVary: Accept, Sec-Fetch-Mode\r\n")
    assert b"No &quot;thing&quot;." in got.body


def test_a_page_for_a_post_does_not_reload() -> None:
    target = Target("127.0.0.1", 80)
    assert b"<script>" in content(NAVIGATES, target=target).body
    assert b"<script>" not in content(NAVIGATES, method="POST", target=target).body


def test_the_page_lists_the_ports_that_the_client_may_reach() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as ipv4,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as ipv6,
        socket.create_server(("127.18.0.9", 0)) as workspace,
    ):
        first, second, third = (sock.getsockname()[1] for sock in (ipv4, ipv6, workspace))

        def listed(host: str, access: Access | None = None, own: int = 0) -> set[int]:
            world = World(Config(access=access or Access()))
            world.services.is_self = lambda _host, port: port == own
            body = content(NAVIGATES, world=world, target=Target(host, 80)).body.decode()
            return {port for port in (first, second, third) if f">{port}</a>" in body}

        assert first in find_ports_at(["127.0.0.1"])
        assert listed("127.18.0.9") == {third}
        assert listed("127.0.0.1", Access(allow_ports=[str(first), str(third)])) == {first}
        both = [str(first), str(second)]
        assert listed("127.0.0.1", Access(allow_ports=both)) == {first, second}
        assert listed("::1", Access(allow_ports=both, deny_ports=[str(first)])) == {second}
        assert listed("127.0.0.1", Access(allow_ports=both), own=second) == {first}
        assert listed("a.example", Access(allow_ports=both)) == set()
