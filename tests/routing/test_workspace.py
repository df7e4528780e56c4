"""Workspaces and their addresses."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.routing.workspace import (
    WorkspaceHosts,
    workspace_ip,
    workspace_label,
    workspace_number,
)

ADDRESSES = {
    "workspace-1": "127.18.0.1",
    "workspace-0": "127.18.0.0",
    "workspace-255": "127.18.0.255",
    "workspace-256": "127.18.1.0",
    "workspace-65535": "127.18.255.255",
    "workspace-007": "127.18.0.7",
    "w000000000000000000000001": "127.18.0.1",
    "1": "127.18.0.1",
    "a/b/workspace-2": "127.18.0.2",
    "/workspace-2": "127.18.0.2",
    "65537/workspace-2": "127.18.0.2",
    "v1.2": "127.18.0.2",
    "a" * 254 + "7": "127.18.0.7",
    "d" * 1000 + "/workspace-2": "127.18.0.2",
    # The hash is FNV-1a of 32 bits: 0xE40C292C for "a", 0xBF9CF968 for "foobar".
    "a": "127.18.41.44",
    "A": "127.18.41.44",
    "foobar": "127.18.249.104",
    "x/FooBar": "127.18.249.104",
}


@pytest.mark.parametrize(("name", "address"), ADDRESSES.items(), ids=ADDRESSES)
def test_a_name_has_an_address(name: str, address: str) -> None:
    assert workspace_ip(name) == address


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("/", "is empty"),
        ("a/", "is empty"),
        ("workspace-65536", "ends with a number above 65535"),
        ("workspace-65537", "ends with a number above 65535"),
        ("w" + "9" * 254, "ends with a number above 65535"),
        ("w" * 256, "has more than 255 bytes"),
        ("w" + "9" * 5000, "has more than 255 bytes"),
        ("\u00e4" * 256, "has more than 255 bytes"),
        ("\u00e4", "has characters that are not printable ASCII"),
        ("w\u0661", "has characters that are not printable ASCII"),
        ("a\x00", "has characters that are not printable ASCII"),
        ("a\n", "has characters that are not printable ASCII"),
        ("a\t1", "has characters that are not printable ASCII"),
    ],
)
def test_an_invalid_name_has_no_address(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        workspace_ip(name)


@given(st.text())
def test_any_text_has_an_address_of_the_network_or_none(name: str) -> None:
    try:
        address = workspace_ip(name)
    except ValueError:
        return
    assert ipaddress.ip_address(address) in ipaddress.ip_network("127.18.0.0/16")
    assert workspace_ip(name.upper() if name.isascii() else name) == address
    assert workspace_label(name) in name.lower()


# Hosts


def test_without_a_template_the_host_is_the_address() -> None:
    assert WorkspaceHosts(None).host_of("a/workspace-3") == "127.18.0.3"


@pytest.mark.parametrize(
    ("template", "name", "host"),
    [
        ("{workspace}.sandboxes.svc", "a/WS-1", "ws-1.sandboxes.svc"),
        ("dev-{workspace}", "x" * 59, "dev-" + "x" * 59),
        ("workspace-{workspace}", "65536", "workspace-65536"),
        ("{workspace}.svc.", "65536", "65536.svc."),
        ("{workspace}", "1a", "1a"),
        ("{workspace}", "0xg", "0xg"),
        ("{workspace}", "localhosts", "localhosts"),
        ("{workspace}.example", "localhost", "localhost.example"),
    ],
)
def test_a_template_makes_a_host_name(template: str, name: str, host: str) -> None:
    assert WorkspaceHosts(template).host_of(name) == host


@pytest.mark.parametrize("name", ["a.b", "-a", "a-", "a_b", "a b", "x" * 64, "a:80", "{workspace}"])
def test_a_workspace_in_a_host_name_has_to_be_a_dns_label(name: str) -> None:
    with pytest.raises(ValueError, match=r"^is not a name that DNS can have"):
        WorkspaceHosts("{workspace}.svc").host_of(name)


NUMBERS = ["2130706433", "0x7f000001", "0X7F000001", "017700000001", "0", "00", "4294967296", "09"]


@pytest.mark.parametrize("name", [*NUMBERS, "0x", "0" * 63])
@pytest.mark.parametrize(
    "template", ["{workspace}", "{workspace}.", "127.{workspace}", "1{workspace}"]
)
def test_a_host_that_is_read_as_an_address_is_refused(template: str, name: str) -> None:
    if template == "1{workspace}" and not name.isdecimal():
        name = "1"
    with pytest.raises(ValueError, match=r"^makes a host that is read as an IP address$"):
        WorkspaceHosts(template).host_of(name)


def test_every_text_that_inet_aton_reads_is_refused() -> None:
    forms = ["%d", "0x%x", "0%o"]
    for number in (0, 1, 127, 255, 256, 0x7F000001, 0xFFFFFFFF):
        for form in forms:
            text = form % number
            socket.inet_aton(text)
            with pytest.raises(ValueError, match="read as an IP address"):
                WorkspaceHosts("{workspace}").host_of(text)
            for before in ("127.", "127.0.", "0x7f.0.00."):
                with pytest.raises(ValueError, match="read as an IP address"):
                    WorkspaceHosts(before + "{workspace}").host_of(text)


@given(st.text("0123456789abcdefxX.-", max_size=20))
def test_no_text_that_inet_aton_reads_is_a_host(name: str) -> None:
    for template in ("{workspace}", "127.{workspace}", "{workspace}.1", "0x{workspace}"):
        try:
            host = WorkspaceHosts(template).host_of(name)
        except ValueError:
            continue
        with pytest.raises(OSError, match="illegal IP address"):
            socket.inet_aton(host)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{workspace}", "localhost"),
        ("{workspace}", "d/LocalHost"),
        ("{workspace}.", "localhost"),
        ("x.{workspace}", "localhost"),
        ("x.{workspace}.", "localhost"),
        ("local{workspace}", "host"),
        ("{workspace}.localhost", "a"),
        ("{workspace}.LOCALHOST.", "a"),
        ("ip6-{workspace}", "loopback"),
        ("{workspace}", "ip6-localhost"),
        ("{workspace}.localdomain", "localhost"),
    ],
)
def test_a_name_of_the_loopback_is_refused(template: str, name: str) -> None:
    with pytest.raises(ValueError, match=r"^makes a host that is a name of the loopback$"):
        WorkspaceHosts(template).host_of(name)


def test_an_ipv6_literal_is_refused() -> None:
    with pytest.raises(ValueError, match="read as an IP address"):
        WorkspaceHosts("::{workspace}").host_of("1")


def test_a_host_may_not_be_too_long_for_dns() -> None:
    for template, name in (("dev-{workspace}", "x" * 60), ("a." * 96 + "{workspace}", "x" * 62)):
        with pytest.raises(ValueError, match=r"^makes a host that is too long for DNS$"):
            WorkspaceHosts(template).host_of(name)
        assert WorkspaceHosts(template).host_of(name[:-1])


@given(st.integers(0, 0xFFFF))
def test_an_address_gives_its_number_back(number: int) -> None:
    assert workspace_number(workspace_ip(f"workspace-{number}")) == number


@pytest.mark.parametrize("address", ["127.0.0.1", "127.18.0", "127.180.0.1", "::1", "127.18.0.1.1"])
def test_other_addresses_belong_to_no_workspace(address: str) -> None:
    assert workspace_number(address) is None
