"""Which requests are for a tunnel inside a WebSocket, and which of them are refused undialled."""

import pytest

from cmux_proxy import Access, Config, Paths, PortMissing, Router, RouteRefused, Target, Tunnels
from cmux_proxy.errors import UnavailableReason
from cmux_proxy.relay.websocket_requests import TunnelRequests
from tests.helpers.fakes import FakeStream, World, statuses
from tests.helpers.script import head
from tests.helpers.tunnel_frames import KEY, V1, binary, frames_of, offer, opened, request

PATH = "/.cmux/tcp/80"
PORT = "X-Cmux-Port-Internal: 80"
HANDSHAKE = ["Upgrade: websocket", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"]


def asked(world: World, data: bytes) -> FakeStream:
    client = world.client()
    client.arrives(data)
    return client


def refused(data: bytes, config: Config | None = None) -> tuple[int, str, bytes]:
    """Return the status and the line with which a request is refused undialled, and its head."""
    world = World(config)
    client = asked(world, data)
    assert world.dials == []
    first, _, body = bytes(client.got).partition(b"\r\n\r\n")
    [status] = statuses(client)
    return status, body.decode().removesuffix("\n"), first


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["binary"], "binary", id="binary"),
        pytest.param(["base64", "binary"], "binary", id="the known one"),
        pytest.param(["binary", V1], V1, id="preferred"),
    ],
)
def test_a_path_names_the_port_and_any_known_subprotocol_is_good(
    offered: list[str], chosen: str
) -> None:
    world = World()
    data = request(PATH, *([offer(*offered)] if offered else []))
    client = asked(world, data)
    dial = world.dial()
    assert dial.target == Target("127.0.0.1", 80)
    # Nothing is said before the upstream is there.
    assert client.got == b""
    upstream = dial.succeeds()
    assert client.got == opened(chosen)
    assert upstream.got == b""


def test_an_unavailable_port_is_a_502_and_the_connection_stays_usable() -> None:
    world = World()
    client = asked(world, request(PATH))
    world.dial().fails()
    assert statuses(client) == [502]
    client.arrives(request("/.cmux/tcp/81", offer(V1)))
    assert world.dial().target.port == 81
    world.dial().fails(UnavailableReason.TIMEOUT)
    assert statuses(client) == [502, 504]


def test_the_port_field_needs_the_subprotocol_with_half_close() -> None:
    world = World()
    client = asked(world, request("/any", PORT, offer("binary", V1)))
    upstream = world.dial().succeeds()
    assert client.got == opened(V1)
    upstream.arrives(b"x")
    assert frames_of(bytes(client.got)[len(opened(V1)) :])[0].data == b"x"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request("/ws", PORT), id="no subprotocol"),
        pytest.param(request("/ws", PORT, offer("binary")), id="another subprotocol"),
        pytest.param(request("/ws", PORT, offer("cmux-tcp.v1 x")), id="no subprotocols"),
        pytest.param(request("/ws", offer(V1), host="80.localhost"), id="host"),
        pytest.param(request("/ws", PORT, offer(V1), host="80.localhost"), id="host and field"),
        pytest.param(request(PATH, offer(V1), host="80.localhost"), id="a path of a host"),
        pytest.param(request(PATH, PORT), id="a path of a port"),
        pytest.param(
            head(
                "GET /ws HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: other", PORT,
                offer(V1),
            ),
            id="another upgrade",
        ),
        pytest.param(head("GET / HTTP/1.1", "Host: a", PORT, offer(V1)), id="no upgrade"),
        pytest.param(head("GET / HTTP/1.1", "Host: a", PORT, *HANDSHAKE, offer(V1)), id="unnamed"),
    ],
)  # fmt: skip
def test_what_a_service_gets_as_ever(data: bytes) -> None:
    world = World()
    client, upstream = world.ask(data)
    assert client.got == b""
    assert upstream.got.startswith(data.split(b"\r\n", 1)[0])


@pytest.mark.parametrize(
    "port",
    ["", "0", "65536", "22x", "+22", "-1", " 22", "2 2", "22/", "/22", "22/more", "22?a=b", "%32",
     "0x16", "123456"],
)  # fmt: skip
def test_a_path_without_a_port_is_a_400(port: str) -> None:
    target = f"/.cmux/tcp/{port}"
    if " " in port:
        assert refused(request(target))[0] == 400
    else:
        text = "invalid path: /.cmux/tcp/ needs a port from 1 to 65535 behind it"
        assert refused(request(target))[:2] == (400, text)


@pytest.mark.parametrize(
    "target", ["/.cmux/tcp", "//.cmux/tcp/22", "/.cmux//tcp/22", "/.cmux/TCP/22", "/.cmux/%74cp/22"]
)
def test_another_path_names_no_port(target: str) -> None:
    text = "missing required header: X-Cmux-Port-Internal"
    assert refused(request(target))[:2] == (400, text)


def test_a_connect_has_no_path() -> None:
    data = head("CONNECT a:1 HTTP/1.1", "Host: a:1")
    assert refused(data)[:2] == (400, "missing required header: X-Cmux-Port-Internal")


def test_without_paths_of_the_proxy_the_field_alone_names_a_tunnel() -> None:
    config = Config(paths=Paths(no_cmux_paths=True))
    text = "missing required header: X-Cmux-Port-Internal"
    assert refused(request(PATH), config)[:2] == (400, text)
    world = World(config)
    client = asked(world, request(PATH, PORT, offer(V1)))
    world.dial().succeeds()
    assert client.got == opened(V1)


def test_the_target_may_be_in_absolute_form() -> None:
    world = World()
    asked(world, request(f"http://b{PATH}"))
    assert world.dial().target.port == 80


ORIGIN_TEXT = "tunnels are not for web pages, unless --tunnel-origin names their origin"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(PATH, "Origin: http://a"), id="of its own host"),
        pytest.param(request(PATH, "Origin: https://evil.example"), id="foreign"),
        pytest.param(request(PATH, "Origin: null"), id="null"),
        pytest.param(request(PATH, "Origin:"), id="empty"),
        pytest.param(request(PATH, "Origin: https://vnc.example.evil"), id="longer"),
        pytest.param(request(PATH, "Origin: HTTPS://vnc.example"), id="other case"),
        pytest.param(
            request(PATH, "Origin: https://vnc.example", "Origin: https://evil.example"), id="two"
        ),
        pytest.param(request("/", PORT, offer(V1), "Origin: http://a"), id="by the field"),
        pytest.param(head(f"GET {PATH} HTTP/1.1", "Host: a", "Origin: http://a"), id="a fetch"),
        pytest.param(request("/.cmux/tcp/0", "Origin: http://a"), id="no port"),
    ],
)
def test_a_page_gets_a_403(data: bytes) -> None:
    config = Config(tunnels=Tunnels(["https://vnc.example"]))
    assert refused(data, config)[:2] == (403, ORIGIN_TEXT)


def test_a_page_whose_origin_is_listed_gets_its_tunnel_and_others_their_websocket() -> None:
    config = Config(tunnels=Tunnels(["https://vnc.example", "http://localhost:6080"]))
    for origin in ("https://vnc.example", "http://localhost:6080"):
        world = World(config)
        asked(world, request(PATH, f"Origin: {origin}", offer("binary")))
        assert world.dial().target.port == 80
    world = World(config)
    asked(world, request("/hmr", PORT, "Origin: http://a"))
    assert world.dial().target.port == 80


def test_a_page_that_is_listed_needs_a_token_too() -> None:
    config = Config(
        access=Access(tokens=["secret"]), tunnels=Tunnels(["https://vnc.example"])
    )  # fmt: skip
    data = request(PATH, "Origin: https://vnc.example")
    assert refused(data, config)[0] == 401
    world = World(config)
    asked(world, request(PATH, "Origin: https://vnc.example", "X-Cmux-Token: secret"))
    assert world.dial().target.port == 80


def changed(*changes: tuple[str, str]) -> bytes:
    """Return a request for a tunnel with changes."""
    data = request(PATH)
    for before, after in changes:
        assert before.encode() in data
        data = data.replace(before.encode(), after.encode())
    return data


@pytest.mark.parametrize(
    ("data", "status", "field"),
    [
        pytest.param(head(f"GET {PATH} HTTP/1.1", "Host: a"), 426, b"Upgrade: websocket", id="get"),
        pytest.param(
            changed(("Connection: Upgrade\r\n", "")), 426, b"Connection: upgrade", id="unnamed"
        ),
        pytest.param(changed(("Upgrade: websocket", "Upgrade: tcp")), 426, b"", id="other upgrade"),
        pytest.param(changed(("HTTP/1.1", "HTTP/1.0")), 426, b"", id="HTTP/1.0"),
        pytest.param(
            changed(("Version: 13", "Version: 8")), 426, b"Sec-WebSocket-Version: 13", id="version"
        ),
        pytest.param(
            changed(("Sec-WebSocket-Version: 13\r\n", "")), 426, b"Version: 13", id="no version"
        ),
        pytest.param(
            changed(("Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13")), 426, b"",
            id="two versions",
        ),
        pytest.param(changed(("GET", "POST")), 405, b"Allow: GET", id="method"),
        pytest.param(changed((f"Sec-WebSocket-Key: {KEY}\r\n", "")), 400, b"", id="no key"),
        pytest.param(changed((KEY, "short")), 400, b"", id="short key"),
        pytest.param(
            changed((f"Key: {KEY}", f"Key: {KEY}\r\nSec-WebSocket-Key: {KEY}")), 400, b"",
            id="two keys",
        ),
        pytest.param(request(PATH, "Content-Length: 1") + b"x", 400, b"", id="body"),
        pytest.param(request(PATH, "Transfer-Encoding: chunked"), 400, b"", id="chunked"),
        pytest.param(request(PATH, offer("chat", "base64")), 400, b"", id="unknown subprotocols"),
        pytest.param(request(PATH, offer("a b")), 400, b"", id="no subprotocol"),
    ],
)  # fmt: skip
def test_what_is_no_handshake_is_refused(data: bytes, status: int, field: bytes) -> None:
    got, text, first = refused(data)
    assert (got, "\n" in text) == (status, False)
    assert text
    assert field in first


def test_several_protocols_may_be_offered_for_an_upgrade() -> None:
    world = World()
    asked(world, changed(("Upgrade: websocket", "Upgrade: foo, WebSocket")))
    assert world.dial().target.port == 80


@pytest.mark.parametrize("data", [request(PATH), request("/", PORT, offer(V1))], ids=["path", "by"])
def test_a_tunnel_needs_what_every_request_needs(data: bytes) -> None:
    assert refused(data, Config(access=Access(tokens=["secret"])))[0] == 401
    assert refused(data, Config(access=Access(deny_ports=["80"])))[0] == 403
    assert refused(data, Config(access=Access(allow_ports=["81"])))[0] == 403
    assert refused(data, Config(access=Access(allow_hosts=["b"])))[0] == 421


def test_a_workspace_and_the_options_are_those_of_any_request() -> None:
    world = World()
    asked(world, request(PATH, "X-Cmux-Workspace-Internal: agent-1", "X-Cmux-Wait: 5s"))
    target = world.dial().target
    assert target.port == 80
    assert target.host.startswith("127.")
    assert target.host != "127.0.0.1"
    text = "invalid header: X-Cmux-Wait must be a duration such as 30s"
    assert refused(request(PATH, "X-Cmux-Wait: x"))[:2] == (400, text)


def test_a_tunnel_carries_bytes_and_no_scheme() -> None:
    world = World()
    asked(world, request(PATH, "X-Cmux-Scheme: https"))
    assert world.dial().target.scheme == "http"


class Embedder(Router):
    """Has paths of its own, hosts of its own, and no tunnels to port 22."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1")
        self.asked: list[tuple[bytes, bytes | None]] = []

    def route(
        self, method: bytes, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]
    ) -> Target:
        self.asked.append((method, host))
        if host == b"app.example":
            return Target("127.0.0.1", 3000)
        if host == b"closed.example":
            raise RouteRefused(404, "nothing is here")
        target = super().route(method, host, fields)
        if method == b"CONNECT" and target.port == 22:
            raise RouteRefused(403, "no tunnels to ssh")
        return target


def embedded() -> tuple[World, Embedder]:
    world = World()
    router = world.services.router = Embedder()
    world.services.tunnel_requests = TunnelRequests(Tunnels(), Paths(), router)
    return world, router


def test_the_router_of_an_embedder_comes_first() -> None:
    world, _ = embedded()
    client = asked(world, request(PATH, host="app.example"))
    assert world.dial().succeeds().got.startswith(b"GET /.cmux/tcp/80 HTTP/1.1\r\n")
    assert client.got == b""
    # Without the field, the subprotocol is the service's.
    asked(world, request("/ws", offer(V1), host="app.example"))
    assert world.dial().succeeds().got.startswith(b"GET /ws HTTP/1.1\r\n")
    client = asked(world, request(PATH, host="closed.example"))
    assert statuses(client) == [404]


def test_the_router_of_an_embedder_sees_a_tunnel_as_a_connect() -> None:
    world, router = embedded()
    client = asked(world, request("/.cmux/tcp/22", host="b"))
    assert statuses(client) == [403]
    client = asked(world, request("/", "X-Cmux-Port-Internal: 22", offer(V1), host="b"))
    assert statuses(client) == [403]
    assert router.asked == [(b"GET", b"b"), (b"CONNECT", b"b")] * 2
    asked(world, request("/", "X-Cmux-Port-Internal: 22", host="b"))
    assert world.dial().target.port == 22


def test_a_missing_port_is_a_refusal_of_its_own() -> None:
    with pytest.raises(PortMissing) as raised:
        Router("127.0.0.1").route(b"GET", b"a", ())
    assert isinstance(raised.value, RouteRefused)
    assert (raised.value.status, raised.value.error) == (400, "http_request_error")


def test_bytes_of_a_tunnel_are_no_request() -> None:
    world = World()
    client, upstream = world.ask(request(PATH))
    client.arrives(binary(b"GET / HTTP/1.1\r\n\r\n"))
    assert upstream.got == b"GET / HTTP/1.1\r\n\r\n"
