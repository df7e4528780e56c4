"""Configuration: defaults, and the values that fields accept and refuse."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from cmux_proxy.config.address import Address
from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.sections import (
    Access,
    Limits,
    Observability,
    Rewriting,
    Routing,
    Timeouts,
)
from cmux_proxy.errors import ConfigError


def refusal(**values: Any) -> str:
    """Return the error of a Config with these values."""
    with pytest.raises(ConfigError) as caught:
        Config(**values)
    return str(caught.value)


NO_ADDRESS = "is not IPv4:PORT, [IPv6]:PORT, unix:/PATH or fd://N"

# Config


@pytest.mark.parametrize("text", ["fd://", "fd://-1", "fd://+3", "fd://1234567", "fd://a", "fd:3"])
def test_a_descriptor_is_a_number(text: str) -> None:
    assert refusal(listen=[text]) == f"listen: {text!r} {NO_ADDRESS}"


def test_the_defaults_are_as_documented() -> None:
    config = Config()
    assert config.listen == ("0.0.0.0:8080", "127.0.0.1:8080")
    assert config.upstream_host is None
    assert config.limits == Limits(
        request_line=16384,
        header_section=65536,
        header_fields=256,
        response_head=131072,
        response_fields=1024,
        chunk_extensions=16384,
        trailers=16384,
        buffer=262144,
        clients=None,
        clients_per_address=None,
        upstream_connections=None,
        idle_upstream_connections=None,
    )
    assert config.timeouts == Timeouts(
        connect=5.0,
        connect_retry=0.0,
        max_wait=60.0,
        head=15.0,
        idle=75.0,
        body=60.0,
        response=None,
        response_idle=None,
        tunnel=None,
        upstream_idle=4.0,
        linger=5.0,
        drain=10.0,
    )
    assert config.routing == Routing(None, (), False)
    assert config.rewriting == Rewriting("preserve", False, "preserve", False, ())
    assert config.access == Access((), None, (), (), (), ())
    assert (config.loop, config.busy_poll, config.log_level) == ("auto", 0.0, "info")
    assert (config.workers, config.unix_mode) == (1, None)


def test_addresses_are_listed_in_their_order() -> None:
    config = Config(listen=["[::1]:2", "127.0.0.1:1"])
    assert config.listen == ("[::1]:2", "127.0.0.1:1")
    assert config.addresses() == [Address("::1", 2), Address("127.0.0.1", 1)]


def test_addresses_and_descriptors_are_separated() -> None:
    config = Config(listen=["fd://5", "unix:/a", "fd://3", "[::1]:2", "fd://05"])
    assert config.addresses() == [Address.parse("unix:/a"), Address("::1", 2)]
    assert config.descriptors() == [5, 3]


@pytest.mark.parametrize("wrong", [-1, 0o1000, 384.0, "600", True])
def test_a_mode_is_one_of_a_file(wrong: object) -> None:
    assert (Config(unix_mode=0).unix_mode, Config(unix_mode=0o777).unix_mode) == (0, 0o777)
    with pytest.raises(ConfigError) as caught:
        Observability(admin_unix_mode=wrong)  # type: ignore[arg-type]
    assert caught.value.field == "observability.admin_unix_mode"
    assert refusal(unix_mode=wrong) == f"unix_mode: {wrong!r} is not a mode from 0 to 0o777"


@pytest.mark.parametrize("listen", ["127.0.0.1:80", "", [], ()])
def test_listen_is_a_list_of_at_least_one(listen: object) -> None:
    assert refusal(listen=listen) == ("listen: needs at least one address, as a list of strings")


def test_every_address_is_checked() -> None:
    assert refusal(listen=["127.0.0.1:80", "x"]) == f"listen: 'x' {NO_ADDRESS}"


@pytest.mark.parametrize(
    ("host", "kept"),
    [
        ("localhost", "localhost"),
        ("a-b.example.", "a-b.example."),
        ("_dev_1", "_dev_1"),
        ("3com", "3com"),
        ("a" * 63 + ".b", "a" * 63 + ".b"),
        ("127.0.0.2", "127.0.0.2"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[2001:DB8::0]", "2001:db8::"),
    ],
)
def test_an_upstream_host_is_a_name_or_an_address(host: str, kept: str) -> None:
    assert Config(upstream_host=host).upstream_host == kept


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a b",
        "a:80",
        "127.0.0.1:80",
        "127.1",
        "127.0.0.256",
        "1",
        ".",
        ".a",
        "a..b",
        "-a",
        "a-",
        "a.-b",
        "a" * 64,
        "a." * 127 + "b",
        "[a]",
        "[::1",
        "http://a",
        "a/b",
        "u@a",
        "ä.example",
        "a\n",
        "a\x00",
    ],
)
def test_other_texts_are_no_upstream_host(host: str) -> None:
    assert refusal(upstream_host=host) == (
        f"upstream_host: {host!r} is not a host name or an IP address"
    )


def test_the_loop_and_the_log_level_are_choices() -> None:
    assert refusal(loop="trio") == "loop: 'trio' is not one of auto, native, uvloop, asyncio"
    assert refusal(log_level="loud") == (
        "log_level: 'loud' is not one of debug, info, warning, error"
    )


def test_the_number_of_workers_is_a_whole_number() -> None:
    assert Config(workers=8).workers == 8
    for wrong in (0, -1, 1.0, True, "2", "auto", None):
        assert refusal(workers=wrong) == (f"workers: {wrong!r} is not a whole number of at least 1")


def test_the_admin_listener_has_another_address_than_the_proxy() -> None:
    with pytest.raises(ConfigError) as caught:
        Observability(admin="fd://3")
    assert str(caught.value) == (
        "observability.admin: 'fd://3' is not IPv4:PORT, [IPv6]:PORT or unix:/PATH"
    )
    for taken in ("127.0.0.1:8080", "unix:/run/a.sock"):
        admin = Observability(admin=taken)
        reason = f"observability.admin: {taken} is the proxy's own, from listen"
        assert refusal(listen=["[::1]:1", taken], observability=admin) == reason
    Config(listen=["127.0.0.1:0"], observability=Observability(admin="127.0.0.1:0"))


# Numbers


@pytest.mark.parametrize("seconds", [0, 50e-6, 0.01])
def test_busy_polling_is_short(seconds: float) -> None:
    assert Config(busy_poll=seconds).busy_poll == seconds


@pytest.mark.parametrize(
    "wrong", [-50e-6, 0.0101, 1, True, "50us", None, float("nan"), float("inf")]
)
def test_busy_polling_is_at_most_10_ms(wrong: object) -> None:
    assert refusal(busy_poll=wrong) == f"busy_poll: {wrong!r} is not a number from 0 to 0.01"


MINIMUMS = {"idle_upstream_connections": 0}
NUMBERS: list[tuple[Any, str, str, int]] = [
    *[
        (Limits, "limits", field.name, MINIMUMS.get(field.name, 1))
        for field in fields(Limits)
        if field.name != "buffer" and not field.name.startswith("http2_")
    ],
    *[(Timeouts, "timeouts", field.name, 0) for field in fields(Timeouts)],
]  # fmt: skip


@pytest.mark.parametrize(("section", "prefix", "name", "minimum"), NUMBERS)
def test_every_number_has_a_minimum(section: Any, prefix: str, name: str, minimum: int) -> None:
    if name != "connect":
        assert getattr(section(**{name: minimum}), name) == minimum
    bounds = "above 0" if name == "connect" else f"of at least {minimum}"
    for wrong in (minimum - 1, -0.5, "5", True, float("nan"), float("inf"), float("-inf"), [1]):
        with pytest.raises(ConfigError) as caught:
            section(**{name: wrong})
        assert caught.value.field == f"{prefix}.{name}"
        assert caught.value.reason == f"{wrong!r} is not a number {bounds}"


@pytest.mark.parametrize("wrong", [16383, 262145, "16k", None])
def test_a_buffer_has_a_minimum_and_a_maximum(wrong: Any) -> None:
    assert (Limits(buffer=16384).buffer, Limits(buffer=262144).buffer) == (16384, 262144)
    with pytest.raises(ConfigError) as caught:
        Limits(buffer=wrong)
    assert str(caught.value) == (f"limits.buffer: {wrong!r} is not a number from 16384 to 262144")


@pytest.mark.parametrize("wrong", [0, 2**31, 1.5, None])
def test_the_number_of_streams_is_whole(wrong: Any) -> None:
    assert (Limits(http2_streams=1).http2_streams, Limits().http2_streams) == (1, 100)
    with pytest.raises(ConfigError) as caught:
        Limits(http2_streams=wrong)
    reason = f"{wrong!r} is not a whole number from 1 to 2147483647"
    assert str(caught.value) == f"limits.http2_streams: {reason}"


@pytest.mark.parametrize("name", ["http2_stream_window", "http2_connection_window"])
@pytest.mark.parametrize("wrong", [65534, 2**31, 1e6, None])
def test_windows_of_http2_begin_with_their_default(name: str, wrong: Any) -> None:
    least = Limits(http2_stream_window=65535, http2_connection_window=65535)
    assert getattr(least, name) == 65535
    most = Limits(http2_stream_window=2**31 - 1, http2_connection_window=2**31 - 1)
    assert getattr(most, name) == 2**31 - 1
    with pytest.raises(ConfigError) as caught:
        Limits(**as_any({name: wrong}))
    reason = f"{wrong!r} is not a whole number from 65535 to 2147483647"
    assert str(caught.value) == f"limits.{name}: {reason}"


def test_the_window_of_a_connection_holds_one_of_a_stream() -> None:
    with pytest.raises(ConfigError) as caught:
        Limits(http2_stream_window=2**20 + 1)
    reason = "1048576 is smaller than the window of a stream"
    assert str(caught.value) == f"limits.http2_connection_window: {reason}"


# Access


def as_any(values: dict[str, Any]) -> dict[str, Any]:
    return dict(values)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("allow_ports", "80-"),
        ("deny_ports", "0"),
        ("allow_hosts", "a:80"),
        ("allow_clients", "10.0.0.1/8"),
    ],
)
def test_every_entry_of_a_list_is_checked(name: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Access(**as_any({name: ["1", wrong] if "ports" in name else [wrong]}))
    assert caught.value.field == f"access.{name}"
    assert repr(wrong) in caught.value.reason


@pytest.mark.parametrize(
    "name", [field.name for field in fields(Access) if field.name != "auth_token_file"]
)
def test_access_takes_lists_of_strings(name: str) -> None:
    assert getattr(Access(**as_any({name: []})), name) == ()
    wrong: Any
    for wrong in ("80", [80]):
        with pytest.raises(ConfigError, match=f"access.{name}: needs a list of strings"):
            Access(**{name: wrong})


def test_the_connect_timeout_is_above_0() -> None:
    assert Timeouts(connect=0.001).connect == 0.001
    with pytest.raises(ConfigError) as caught:
        Timeouts(connect=0)
    assert str(caught.value) == "timeouts.connect: 0 is not a number above 0"


@pytest.mark.parametrize("name", [name.name for name in fields(Timeouts)])
def test_some_timeouts_may_be_none(name: str) -> None:
    values: dict[str, Any] = {name: None}
    if name in ("head", "idle", "body", "response", "response_idle", "tunnel"):
        assert getattr(Timeouts(**values), name) is None
    else:
        with pytest.raises(ConfigError, match=f"timeouts.{name}: None is not a number"):
            Timeouts(**values)


UNLIMITED = (
    "clients", "clients_per_address", "upstream_connections", "idle_upstream_connections",
)  # fmt: skip


@pytest.mark.parametrize("name", UNLIMITED)
def test_limits_on_connections_may_be_none(name: str) -> None:
    values: dict[str, Any] = {name: None}
    assert getattr(Limits(**values), name) is None


@pytest.mark.parametrize(
    "field", [field for field in fields(Limits) if field.name not in UNLIMITED]
)
def test_other_limits_are_never_none(field: Any) -> None:
    with pytest.raises(ConfigError, match=r"None is not a (whole )?number"):
        Limits(**as_any({field.name: None}))


@pytest.mark.parametrize("made", [Config(), Limits(), Timeouts(), Address("a", 1)])
def test_a_configuration_is_frozen(made: Any) -> None:
    for name in fields(made):
        with pytest.raises(FrozenInstanceError):
            setattr(made, name.name, 1)
    assert not hasattr(made, "__dict__")
