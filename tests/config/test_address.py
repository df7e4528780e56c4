"""Addresses: how they are read and written."""

from ipaddress import ip_address

import pytest

from cmux_proxy.config.address import (
    Address,
    bind_address,
    check_zone,
    format_authority,
    listen_entry,
)
from cmux_proxy.errors import ConfigError

NO_ADDRESS = "is not IPv4:PORT, [IPv6]:PORT, unix:/PATH or fd://N"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("[::1]:65535", "::1", 65535),
        ("[::]:08080", "::", 8080),
        ("[2001:DB8:0::0:1]:1", "2001:db8::1", 1),
        ("[fe80::1%lo]:80", "fe80::1%lo", 80),
    ],
)
def test_an_address_is_read_in_its_shortest_form(text: str, host: str, port: int) -> None:
    assert Address.parse(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:000080",
        "127.0.0.1:+80",
        "127.0.0.1:80 ",
        " 127.0.0.1:80",
        "127.0.0.1:80\n",
        "127.0.0.1:8_0",
        "127.0.0.1:٨٠",
        "127.0.0.256:80",
        "127.1:80",
        "127.0.0.01:80",
        "localhost:80",
        "*:80",
        "[127.0.0.1]:80",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[::g]:80",
        "[[::1]]:80",
        "http://127.0.0.1:80",
        "unix:",
        "unix:a",
        "unix:/a\0",
        "unix:/a\n",
        "unix:/a,b",
        "unix//a",
        "Unix:/a",
        "fd://3",
    ],
)
def test_other_texts_are_no_addresses(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address.parse(text)
    assert caught.value.field == "listen"
    assert caught.value.reason == f"{text!r} {NO_ADDRESS}"


def test_the_field_in_the_error_can_be_chosen() -> None:
    with pytest.raises(ConfigError) as caught:
        Address.parse("x", "CMUX_LISTEN")
    assert caught.value.field == "CMUX_LISTEN"


@pytest.mark.parametrize("text", ["127.0.0.1:80", "[::1]:80", "0.0.0.0:0", "unix:/a b/c:80"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(Address.parse(text)) == text


def test_a_path_is_an_address_without_host_and_port() -> None:
    assert Address.parse("unix:/run/a.sock") == Address("", 0, "/run/a.sock")


def test_an_address_that_is_bound_may_have_a_path_but_no_descriptor() -> None:
    assert bind_address("unix:/a") == "unix:/a"
    with pytest.raises(ValueError, match=r"is not IPv4:PORT, \[IPv6\]:PORT or unix:/PATH"):
        bind_address("fd://3")


def test_an_entry_of_listen_is_an_address_or_a_descriptor() -> None:
    assert listen_entry("fd://03") == 3
    assert listen_entry("[::1]:2") == Address("::1", 2)


@pytest.mark.parametrize("text", ["fe80::1%eth0", "fe80::1%2", "::1", "fd00::1", "169.254.0.1"])
def test_an_address_that_needs_no_zone_or_has_one_is_accepted(text: str) -> None:
    check_zone(ip_address(text))


def test_a_link_local_address_without_its_zone_is_an_error() -> None:
    reason = "fe80::1 is link-local and needs its interface, as in fe80::1%eth0"
    with pytest.raises(ValueError, match=f"^{reason}$"):
        check_zone(ip_address("fe80::1"))
    with pytest.raises(ConfigError) as caught:
        Address.parse("[fe80::1]:80")
    assert str(caught.value) == f"listen: {reason}"


# Hosts


@pytest.mark.parametrize(
    ("host", "authority"),
    [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("a.example", "a.example:80")],
)
def test_an_ipv6_address_has_brackets_before_a_port(host: str, authority: str) -> None:
    assert format_authority(host, 80) == authority
