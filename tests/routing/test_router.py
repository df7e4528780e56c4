"""The router: fields and hosts, and the targets that they name."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.host_label import HostLabel, HostSuffixes
from cmux_proxy.routing.router import RESERVED_PREFIX, RESERVED_SUFFIX, Router
from cmux_proxy.routing.target import HostTarget, Target

PORT = b"x-cmux-port-internal"
OTHER = b"x-cmux-other-internal"
WORKSPACE = b"x-cmux-workspace-internal"


def route(*fields: tuple[bytes, bytes], host: str = "127.0.0.1") -> Target:
    return Router(host).route(b"GET", b"a.example", fields)


def refusal(*fields: tuple[bytes, bytes]) -> str:
    with pytest.raises(RouteRefused) as caught:
        route(*fields)
    assert (caught.value.status, caught.value.error) == (400, "http_request_error")
    return caught.value.text


def test_the_port_field_names_the_port_of_the_upstream_host() -> None:
    assert route((PORT, b"3000")) == Target("127.0.0.1", 3000)
    assert route((PORT, b"3000"), host="::1") == Target("::1", 3000)


def test_a_port_has_one_target_whatever_the_host() -> None:
    """The pool finds an identical key without comparing hosts and ports."""
    router = Router("h", host_suffixes=["localhost"])
    targets = [
        router.route(method, host, ((PORT, b"80"),))
        for method, host in ((b"GET", b"a"), (b"GET", b"a"), (b"CONNECT", b"b"), (b"GET", None))
    ]
    assert all(target is targets[0] for target in targets)


def test_the_last_route_is_not_that_of_another_host_or_port(by_host: Router) -> None:
    """The same objects may come with others than the last time."""
    first, second, third = ((PORT, b"1"),), ((PORT, b"2"),), ((PORT, b"1"), (WORKSPACE, b"w-3"))
    plain, naming = b"plain", b"2.localhost"
    for _ in range(2):
        assert by_host.route(b"GET", plain, first).port == 1
        with pytest.raises(RouteRefused, match="contradicts"):
            by_host.route(b"GET", naming, first)
        assert by_host.route(b"CONNECT", naming, first).port == 1
        assert by_host.route(b"GET", None, first).port == 1
        assert by_host.route(b"GET", naming, second).port == 2
        assert by_host.route(b"GET", plain, second).port == 2
        with pytest.raises(RouteRefused, match="missing"):
            by_host.route(b"GET", plain, ())
        assert by_host.route(b"GET", naming, ()).port == 2
        assert by_host.route(b"GET", plain, third) == Target("127.18.0.3", 1)
        assert by_host.route(b"GET", plain, first) == Target("h", 1)


@pytest.mark.parametrize("method", [b"GET", b"CONNECT", b"POST"])
@pytest.mark.parametrize("host", [None, b"a", b"127.0.0.1:1"])
def test_method_and_host_do_not_select_the_target(method: bytes, host: bytes | None) -> None:
    assert Router("h").route(method, host, ((PORT, b"1"),)) == Target("h", 1)


def test_other_reserved_fields_are_ignored() -> None:
    assert route((OTHER, b"1"), (PORT, b"2"), (OTHER, b"3")).port == 2


def test_a_request_without_the_field_is_refused() -> None:
    text = "missing required header: X-Cmux-Port-Internal"
    assert refusal() == text
    assert refusal((OTHER, b"3000")) == text


def test_the_field_may_not_come_twice() -> None:
    text = "header given more than once: X-Cmux-Port-Internal"
    assert refusal((PORT, b"1"), (PORT, b"2")) == text
    assert refusal((PORT, b"1"), (OTHER, b""), (PORT, b"1")) == text
    assert refusal((PORT, b""), (PORT, b"1")) == text


def test_an_invalid_port_is_refused_every_time() -> None:
    router = Router("h")
    for _ in range(2):
        with pytest.raises(RouteRefused, match="must be a port"):
            router.route(b"GET", None, ((PORT, b"+80"),))


def test_a_target_is_made_once() -> None:
    router = Router("h")
    first = router.route(b"GET", None, ((PORT, b"80"),))
    assert router.route(b"GET", None, ((PORT, b"80"),)) is first
    assert router.route(b"GET", None, ((PORT, b"080"),)) == first


def test_more_ports_than_are_cached_are_routed_too() -> None:
    router = Router("h")
    first = router.route(b"GET", None, ((PORT, b"1"),))
    for port in range(1, 5000):
        assert router.route(b"GET", None, ((PORT, b"%d" % port),)).port == port
    again = router.route(b"GET", None, ((PORT, b"1"),))
    assert again == first
    assert again is not first


# Workspaces


def test_each_workspace_has_its_own_host() -> None:
    assert route((WORKSPACE, b"ws-2"), (PORT, b"80")) == Target("127.18.0.2", 80)
    router = Router("h", "{workspace}.svc")
    assert router.route(b"CONNECT", b"a:1", ((PORT, b"80"), (WORKSPACE, b"WS-2"))) == Target(
        "ws-2.svc", 80
    )


@pytest.mark.parametrize(
    ("value", "clause"),
    [
        (b"", "is empty"),
        (b"a/", "is empty"),
        (b"ws-65537", "ends with a number above 65535"),
        (b"\xc3\xa4", "has characters that are not printable ASCII"),
    ],
)
def test_a_malformed_workspace_is_refused_every_time(value: bytes, clause: str) -> None:
    text = f"invalid header: X-Cmux-Workspace-Internal {clause}"
    router = Router("h", None, ["localhost"])
    for host in (b"localhost", None, b"localhost"):
        with pytest.raises(RouteRefused) as caught:
            router.route(b"GET", host, ((PORT, b"80"), (WORKSPACE, value)))
        assert caught.value.text == text
    assert router.route(b"GET", b"ws-1-80.localhost", ()) == Target("127.18.0.1", 80)
    with pytest.raises(RouteRefused, match="X-Cmux-Workspace-Internal"):
        router.route(b"GET", b"ws-1-80.localhost", ((WORKSPACE, value),))


def test_a_workspace_may_not_come_twice_and_needs_a_port() -> None:
    twice = ((WORKSPACE, b"w"), (PORT, b"1"), (WORKSPACE, b"w"))
    assert refusal(*twice) == "header given more than once: X-Cmux-Workspace-Internal"
    assert refusal((WORKSPACE, b"w")) == "missing required header: X-Cmux-Port-Internal"
    assert refusal((WORKSPACE, b"w"), (PORT, b"x")).startswith("invalid header: X-Cmux-Port")


@pytest.mark.parametrize(
    ("host", "fields", "workspace"),
    [
        (None, ((PORT, b"80"),), ""),
        (None, ((b"x-cmux-wait", b"1"), (PORT, b"80")), ""),
        (None, ((PORT, b"80"), (WORKSPACE, b"d/ws-1")), "ws-1"),
        (b"ws-2-80.localhost", (), "ws-2"),
        (b"80.localhost", (), ""),
        (b"ws-2-80.elsewhere", (), ""),
        (b"ws-2-80.localhost", ((PORT, b"80"),), "ws-2"),
        (b"ws-2-80.localhost", ((WORKSPACE, b"d/WS-2"),), "ws-2"),
        (b"80.localhost", ((WORKSPACE, b"ws-1"),), ""),
    ],
)
def test_the_workspace_of_a_request_is_returned(
    host: bytes | None, fields: tuple[tuple[bytes, bytes], ...], workspace: str
) -> None:
    assert Router("h", None, ["localhost"]).workspace_of(host, fields) == workspace


# Hosts


def test_the_workspace_after_a_route_is_not_that_of_another_host(by_host: Router) -> None:
    fields = ((PORT, b"80"),)
    host = b"127.0.0.1:8080"
    # The second one finds that the host names no port.
    for _ in range(2):
        by_host.route(b"GET", host, fields)
    assert by_host.workspace_of(host, fields) == ""
    assert by_host.workspace_of(b"ws-80.localhost", fields) == "ws"
    assert by_host.workspace_of(host, ((PORT, b"80"), (WORKSPACE, b"ws-1"))) == "ws-1"
    assert by_host.workspace_of(None, fields) == ""


@pytest.fixture
def by_host() -> Router:
    return Router("h", None, ["localhost", "example.dev"])


def test_a_host_names_a_port_if_no_field_does(by_host: Router) -> None:
    assert by_host.route(b"GET", b"3000.localhost:8080", ()) == Target("h", 3000)
    assert by_host.route(b"GET", b"WS-3-80.example.dev", ()) == Target("127.18.0.3", 80)


def test_the_target_of_a_host_or_a_workspace_is_made_once(by_host: Router) -> None:
    for host, fields in ((b"ws-1-80.localhost", ()), (None, ((PORT, b"80"), (WORKSPACE, b"w")))):
        first = by_host.route(b"GET", host, fields)
        assert by_host.route(b"GET", host, fields) is first


@pytest.mark.parametrize(
    ("host", "fields", "target"),
    [
        (b"3000.localhost", ((PORT, b"3000"),), Target("h", 3000)),
        (b"3000.LocalHost.:8080", ((PORT, b"03000"),), Target("h", 3000)),
        (b"3000.example.dev", ((OTHER, b"80"), (PORT, b"3000")), Target("h", 3000)),
        (b"ws-1-3000.localhost", ((PORT, b"3000"),), Target("127.18.0.1", 3000)),
        (b"ws-1-3000.localhost", ((WORKSPACE, b"ws-1"),), Target("127.18.0.1", 3000)),
        (b"WS-1-3000.localhost:1", ((WORKSPACE, b"d/Ws-1"), (PORT, b"3000")),
         Target("127.18.0.1", 3000)),
        (b"ws-1-3000.localhost", ((b"x-cmux-wait", b"1"),), Target("127.18.0.1", 3000)),
    ],
)  # fmt: skip
def test_fields_may_repeat_what_the_host_names(
    by_host: Router, host: bytes, fields: tuple[tuple[bytes, bytes], ...], target: Target
) -> None:
    for _ in range(2):
        assert by_host.route(b"GET", host, fields) == target


@pytest.mark.parametrize(
    ("host", "fields", "blamed"),
    [
        (b"3000.localhost", ((PORT, b"5432"),), "Port"),
        (b"3000.LOCALHOST", ((PORT, b"5432"),), "Port"),
        (b"3000.localhost.", ((PORT, b"5432"),), "Port"),
        (b"3000.localhost:8080", ((PORT, b"5432"),), "Port"),
        (b"3000.localhost:5432", ((PORT, b"5432"),), "Port"),
        (b"3000.example.dev", ((PORT, b"5432"),), "Port"),
        (b"3000.Example.Dev.:80", ((b"x-cmux-wait", b"1"), (PORT, b"5432")), "Port"),
        (b"ws-1-3000.localhost", ((PORT, b"5432"),), "Port"),
        (b"ws-1-3000.localhost", ((PORT, b"5432"), (WORKSPACE, b"ws-1")), "Port"),
        (b"ws-1-3000.localhost", ((PORT, b"3000"), (WORKSPACE, b"ws-2")), "Workspace"),
        (b"ws-1-3000.localhost", ((WORKSPACE, b"ws-2"),), "Workspace"),
        (b"ws-1-3000.localhost", ((WORKSPACE, b"other-1"),), "Workspace"),
        (b"ws-1-3000.localhost", ((WORKSPACE, b"ws-01"),), "Workspace"),
        (b"3000.localhost", ((WORKSPACE, b"ws-1"),), "Workspace"),
        (b"3000.localhost", ((PORT, b"3000"), (WORKSPACE, b"ws-1")), "Workspace"),
    ],
)
def test_fields_may_not_contradict_the_host(
    by_host: Router, host: bytes, fields: tuple[tuple[bytes, bytes], ...], blamed: str
) -> None:
    # A request that was routed by its fields alone does not change the result.
    by_host.route(b"GET", b"a", ((PORT, b"5432"),))
    for _ in range(2):
        with pytest.raises(RouteRefused) as caught:
            by_host.route(b"GET", host, fields)
        assert caught.value.status == 400
        assert caught.value.text == (
            f"invalid header: X-Cmux-{blamed}-Internal contradicts the host; leave it out"
        )


@pytest.mark.parametrize("field", [(PORT, b""), (PORT, b"+3000"), (WORKSPACE, b""), (PORT, b"0")])
def test_a_malformed_field_beside_a_host_is_refused(
    by_host: Router, field: tuple[bytes, bytes]
) -> None:
    for _ in range(2):
        with pytest.raises(RouteRefused, match=r"^invalid header: "):
            by_host.route(b"GET", b"ws-1-3000.localhost", (field,))
    with pytest.raises(RouteRefused, match="given more than once"):
        by_host.route(b"GET", b"ws-1-3000.localhost", (field, field))


@pytest.mark.parametrize("host", [None, b"a", b"localhost:8080", b"ws.localhost", b"0.localhost"])
def test_the_fields_decide_if_the_host_names_no_port(by_host: Router, host: bytes | None) -> None:
    for _ in range(2):
        assert by_host.route(b"GET", host, ((PORT, b"80"),)) == Target("h", 80)
        both = ((PORT, b"80"), (WORKSPACE, b"ws-1"))
        assert by_host.route(b"GET", host, both) == Target("127.18.0.1", 80)


def test_the_fields_decide_without_suffixes() -> None:
    router = Router("h")
    for _ in range(2):
        assert router.route(b"GET", b"3000.localhost", ((PORT, b"80"),)) == Target("h", 80)


@given(
    st.sampled_from([b"80.localhost", b"ws-1-80.localhost", b"WS-2-80.example.dev.:1", b"a", None]),
    st.lists(
        st.tuples(
            st.sampled_from([PORT, WORKSPACE, OTHER, b"x-cmux-wait"]),
            st.sampled_from([b"80", b"081", b"5432", b"ws-1", b"d/WS-2", b"", b"0"]) | st.binary(),
        ),
        max_size=4,
    ),
)
def test_no_fields_change_the_target_of_a_host(
    host: bytes | None, fields: list[tuple[bytes, bytes]]
) -> None:
    router = Router("h", None, ["localhost", "example.dev"])
    with suppress(RouteRefused):
        # Fill the caches with a request to another host.
        router.route(b"GET", b"b", tuple(fields))
    try:
        target = router.route(b"GET", host, tuple(fields))
    except RouteRefused:
        return
    if isinstance(target, HostTarget):
        assert target == router.route(b"GET", host, ())
    else:
        assert host in (b"a", None)


def test_a_target_named_by_the_host_is_recognized(by_host: Router) -> None:
    for host, fields in ((b"80.localhost", ()), (b"ws-1-80.localhost", ((PORT, b"80"),))):
        assert isinstance(by_host.route(b"GET", host, fields), HostTarget)
    target = by_host.route(b"GET", b"80.localhost", ())
    same = by_host.route(b"GET", b"a", ((PORT, b"80"),))
    assert target == same
    assert hash(target) == hash(same)
    assert not isinstance(same, HostTarget)


@pytest.mark.parametrize("host", [None, b"a", b"localhost", b"ws.localhost", b"80.localhost.test"])
def test_other_hosts_name_no_target(by_host: Router, host: bytes | None) -> None:
    with pytest.raises(RouteRefused, match="missing required header"):
        by_host.route(b"GET", host, ())


def test_the_host_of_a_connect_names_no_target(by_host: Router) -> None:
    assert by_host.route(b"GET", b"80.localhost", ()).port == 80
    with pytest.raises(RouteRefused, match="missing required header"):
        by_host.route(b"CONNECT", b"80.localhost", ())
    for _ in range(2):
        target = by_host.route(b"CONNECT", b"80.localhost", ((PORT, b"5432"),))
        assert target == Target("h", 5432)
        assert not isinstance(target, HostTarget)
    with pytest.raises(RouteRefused, match="contradicts"):
        by_host.route(b"GET", b"80.localhost", ((PORT, b"5432"),))


def test_a_workspace_in_a_host_is_checked_too(by_host: Router) -> None:
    with pytest.raises(RouteRefused) as caught:
        by_host.route(b"GET", b"ws-65536-80.localhost", ())
    assert caught.value.text == "invalid host: its workspace ends with a number above 65535"


def test_no_host_names_a_port_unless_there_are_suffixes() -> None:
    with pytest.raises(RouteRefused, match="missing required header"):
        Router("h").route(b"GET", b"80.localhost", ())


@pytest.fixture
def read_hosts(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list of the hosts that a router reads because they are in no cache."""
    hosts: list[bytes] = []
    read = HostSuffixes.read

    def recorded(suffixes: HostSuffixes, host: bytes) -> HostLabel | None:
        hosts.append(host)
        return read(suffixes, host)

    monkeypatch.setattr(HostSuffixes, "read", recorded)
    return hosts


def test_more_hosts_than_are_cached_are_routed_too(
    by_host: Router, read_hosts: list[bytes]
) -> None:
    """Of 4096 hosts at most the cache knows the target, or that there is none."""
    first = by_host.route(b"GET", b"1.localhost", ())
    for port in range(1, 4096):
        assert by_host.route(b"GET", b"%d.localhost" % port, ()).port == port
        assert by_host.route(b"GET", b"%d.test" % port, ((PORT, b"1"),)).port == 1
    assert by_host.route(b"GET", b"1.localhost", ()) is not first
    read_hosts.clear()
    for port in range(1, 4096):
        by_host.route(b"GET", b"%d.test" % port, ((PORT, b"1"),))
    assert read_hosts == []
    by_host.route(b"GET", b"4096.test", ((PORT, b"1"),))
    by_host.route(b"GET", b"4097.test", ((PORT, b"1"),))
    by_host.route(b"GET", b"1.test", ((PORT, b"1"),))
    assert read_hosts == [b"4096.test", b"4097.test", b"1.test"]


@pytest.mark.parametrize(
    ("host", "fields"),
    [
        (b"a", ((PORT, b"80"), (WORKSPACE, b"d/" * 30_000 + b"w"))),
        (b"a" * 60_000, ((PORT, b"80"),)),
        (b"80.localhost:" + b"0" * 60_000, ()),
    ],
    ids=["path", "host", "host that names a port"],
)
def test_long_values_are_routed_and_not_cached(
    by_host: Router,
    read_hosts: list[bytes],
    host: bytes,
    fields: tuple[tuple[bytes, bytes], ...],
) -> None:
    """A client may send many of them, each of the size of a header section."""
    first = by_host.route(b"GET", host, fields)
    second = by_host.route(b"GET", host, fields)
    assert first == second
    assert first.port == 80
    is_cached = read_hosts.count(host) < 2 and first is second
    assert not is_cached


@pytest.mark.parametrize("size", [256, 60_000])
def test_a_workspace_has_at_most_255_bytes(by_host: Router, size: int) -> None:
    assert by_host.route(b"GET", b"a", ((PORT, b"80"), (WORKSPACE, b"w" * 255))).port == 80
    assert by_host.route(b"GET", b"w" * 255 + b"-80.localhost", ()).port == 80
    with pytest.raises(RouteRefused, match="Workspace-Internal has more than 255 bytes"):
        by_host.route(b"GET", b"a", ((PORT, b"80"), (WORKSPACE, b"w" * size)))
    with pytest.raises(RouteRefused, match="invalid host: its workspace has more than 255 bytes"):
        by_host.route(b"GET", b"w" * size + b"-80.localhost", ())


def test_all_internal_fields_are_reserved() -> None:
    assert (RESERVED_PREFIX, RESERVED_SUFFIX) == (b"x-cmux-", b"-internal")
