"""The access rules for requests: tokens, hosts, ports; and the responses. Without sockets."""

import base64

import pytest

from cmux_proxy import Access, Config, Target
from cmux_proxy.downstream.http1_request import Http1Request
from cmux_proxy.errors import RouteRefused
from cmux_proxy.relay.access import RequestAccess
from tests.helpers.fakes import World
from tests.helpers.judging import request_head
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
TOKEN = "s3cret"
OTHER = "0ther"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def refusal(access: Access, *lines: str, host: bytes | None = b"a") -> RouteRefused | None:
    """Return the refusal of a request with these lines, None if it is admitted."""
    request = Http1Request(request_head(head(*lines)))
    request.host = host
    try:
        RequestAccess(access).check_request(request)
    except RouteRefused as error:
        return error
    return None


GIVEN = {
    "X-Cmux-Token": f"X-Cmux-Token: {TOKEN}",
    "any case, white space around": f"x-CMUX-token:\t {TOKEN} ",
    "the other token": f"X-Cmux-Token: {OTHER}",
    "bearer": f"Proxy-Authorization: Bearer {TOKEN}",
    "bearer in any case": f"proxy-authorization: bEARER  {TOKEN}",
    "basic": f"Proxy-Authorization: {basic('user:' + TOKEN)}",
    "basic without a user": f"Proxy-Authorization: {basic(':' + TOKEN)}",
}
NOT_GIVEN = {
    "no token": (),
    "empty": ("X-Cmux-Token:",),
    "wrong": ("X-Cmux-Token: s3cres",),
    "truncated": (f"X-Cmux-Token: {TOKEN[:-1]}",),
    "longer": (f"X-Cmux-Token: {TOKEN}x",),
    "twice": (f"X-Cmux-Token: {TOKEN}", f"X-Cmux-Token: {TOKEN}"),
    "a list": (f"X-Cmux-Token: {TOKEN}, {TOKEN}",),
    "wrong here, right there": ("X-Cmux-Token: x", f"Proxy-Authorization: Bearer {TOKEN}"),
    "bearer twice": (f"Proxy-Authorization: Bearer {TOKEN}",) * 2,
    "bearer without scheme": (f"Proxy-Authorization: {TOKEN}",),
    "another scheme": (f"Proxy-Authorization: Token {TOKEN}",),
    "meant for the upstream": (f"Authorization: Bearer {TOKEN}",),
    "basic, as the user": (f"Proxy-Authorization: {basic(TOKEN + ':')}",),
    "basic without a colon": (f"Proxy-Authorization: {basic(TOKEN)}",),
    "basic, no base64": (f"Proxy-Authorization: Basic {TOKEN}",),
    "basic, bytes outside base64": (
        f"Proxy-Authorization: {basic(':' + TOKEN)[:-2]}-{basic(':' + TOKEN)[-2:]}",
    ),
    "not ASCII": ("X-Cmux-Token: s3cr\u00ebt",),
    "in the target": (),
}


@pytest.mark.parametrize("line", GIVEN.values(), ids=GIVEN)
@pytest.mark.parametrize("method", ["GET / HTTP/1.1", "CONNECT a:1 HTTP/1.1"])
def test_each_of_the_tokens_admits_a_request(line: str, method: str) -> None:
    assert refusal(Access(tokens=[OTHER, TOKEN]), method, "Host: a", line) is None


@pytest.mark.parametrize("lines", NOT_GIVEN.values(), ids=NOT_GIVEN)
def test_without_a_valid_token_a_request_gets_401(lines: tuple[str, ...]) -> None:
    request = f"GET /?X-Cmux-Token={TOKEN} HTTP/1.1"
    error = refusal(Access(tokens=[TOKEN, OTHER]), request, "Host: a", *lines)
    assert error is not None
    assert (error.status, error.error) == (401, "http_request_denied")
    assert error.fields.startswith(b"WWW-Authenticate: ")


def test_a_connect_without_a_token_gets_407() -> None:
    error = refusal(Access(tokens=[TOKEN]), "CONNECT a:1 HTTP/1.1", "Host: a")
    assert error is not None
    assert (error.status, error.error) == (407, "http_request_denied")
    assert [line.split(b" ")[:2] for line in error.fields.splitlines()] == [
        [b"Proxy-Authenticate:", b"Basic"],
        [b"Proxy-Authenticate:", b"Bearer"],
    ]


@pytest.mark.parametrize(
    ("host", "is_served"),
    [(b"a.example:80", True), (b"LOCALHOST", True), (b"evil.test", False), (None, False)],
)
def test_only_allowed_hosts_are_served(host: bytes | None, is_served: bool) -> None:
    access = Access(allow_hosts=["localhost", "*.example"])
    error = refusal(access, "GET / HTTP/1.1", "Host: ignored", host=host)
    assert (error is None) is is_served
    assert error is None or (error.status, error.error) == (421, "http_request_denied")


def test_the_host_of_a_connect_is_not_checked() -> None:
    access = Access(allow_hosts=["localhost"])
    assert refusal(access, "CONNECT a:1 HTTP/1.1", "Host: evil.test", host=b"evil.test") is None


@pytest.mark.parametrize(
    ("allow", "deny", "allowed", "denied"),
    [
        (["3000", "5000-5999"], [], [3000, 5000, 5999], [1, 2999, 3001, 4999, 6000, 65535]),
        ([], ["22", "1-9"], [10, 21, 23, 65535], [1, 9, 22]),
        (["1-100"], ["50-60"], [1, 49, 61, 100], [50, 55, 60, 101]),
    ],
    ids=["allowed", "denied", "both"],
)
def test_a_port_must_be_allowed_and_not_denied(
    allow: list[str], deny: list[str], allowed: list[int], denied: list[int]
) -> None:
    access = RequestAccess(Access(allow_ports=allow, deny_ports=deny))
    for port in allowed:
        access.check_target(Target("127.0.0.1", port))
    for port in denied:
        with pytest.raises(RouteRefused) as caught:
            access.check_target(Target("127.0.0.1", port))
        assert (caught.value.status, caught.value.error) == (403, "http_request_denied")
        flag = "--deny-port" if str(port) in str(deny) or port in (55, 9) else "--a"
        assert f"port {port} is" in caught.value.text
        assert flag in caught.value.text


# In an exchange


def test_without_rules_there_is_no_access_check() -> None:
    assert World().services.access is None
    assert World(Config(access=Access(deny_ports=["1"]))).services.access is not None


def test_the_host_of_the_target_overrides_the_host_field() -> None:
    world = World(Config(access=Access(allow_hosts=["good.test"])))
    client = world.client()
    client.arrives(head("GET http://evil.test/ HTTP/1.1", "Host: good.test", ROUTE))
    assert client.got.startswith(b"HTTP/1.1 421 ")
    other = world.client()
    other.arrives(head("GET http://good.test/ HTTP/1.1", "Host: evil.test", ROUTE))
    assert not other.got
    assert len(world.dials) == 1


def test_the_token_is_checked_before_the_route() -> None:
    world = World(Config(access=Access(tokens=[TOKEN], allow_ports=["80"])))
    for route in ("X-Cmux-Port-Internal: 81", "X-Cmux-Port-Internal: x", "A: 1"):
        client = world.client()
        client.arrives(head("GET / HTTP/1.1", "Host: a", route))
        assert client.got.startswith(b"HTTP/1.1 401 ")
        client.arrives(head("GET / HTTP/1.1", "Host: a", route, f"X-Cmux-Token: {TOKEN}"))
        assert client.got.count(b"HTTP/1.1 401 ") == 1
    assert world.dials == []


@pytest.mark.parametrize("tokens", [[], [TOKEN]], ids=["not required", "required"])
def test_a_token_never_reaches_the_upstream(tokens: list[str]) -> None:
    world = World(Config(access=Access(tokens=tokens)))
    client = world.client()
    lines = ("Host: a", "A: 1", f"X-CMUX-Token: {TOKEN}", f"Proxy-Authorization: Bearer {TOKEN}")
    client.arrives(head("GET / HTTP/1.1", *lines, ROUTE, "B: 2"))
    upstream = world.dial().succeeds()
    assert bytes(upstream.got) == head("GET / HTTP/1.1", "Host: a", "A: 1", "B: 2")
