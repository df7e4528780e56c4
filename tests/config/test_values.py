"""Entries of access lists: what they may be, and what they match."""

from ipaddress import ip_address

import pytest

from cmux_proxy.config.values import (
    HostPattern,
    Peers,
    PortRange,
    domain,
    host_template,
    host_value,
    peer_network,
    plain_address,
    plain_host,
)

# Ports


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", (1, 1)), ("65535", (65535, 65535)), ("5000-5999", (5000, 5999)), ("08-8", (8, 8))],
)
def test_a_port_range_has_both_its_ends(text: str, expected: tuple[int, int]) -> None:
    assert PortRange.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "0", "65536", "0-9", "1-65536", "9-1", "1-", "-1", "1-2-3", "+1", "1_0", " 1", "1\n",
     "\u0661", "http", "000001"],
)  # fmt: skip
def test_other_texts_are_no_port_ranges(text: str) -> None:
    with pytest.raises(ValueError, match="neither a port from 1 to 65535 nor a range") as caught:
        PortRange.parse(text)
    assert repr(text) in str(caught.value)


# Hosts


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("app.example", b"app.example", True),
        ("App.Example", b"APP.example:8080", True),
        ("app.example", b"app.example.", True),
        ("app.example", b"xapp.example", False),
        ("app.example", b"app.example.evil", False),
        ("*.example", b"a.example", True),
        ("*.example", b"a.b.EXAMPLE:1", True),
        ("*.example", b"example", False),
        ("*.example", b"aexample", False),
        ("*.example", b".example", True),
        ("localhost", b"localhost:3000", True),
        ("localhost", b"evil.localhost", False),
        ("127.0.0.1", b"127.0.0.1:80", True),
        ("127.0.0.1", b"127.0.0.11", False),
        ("[::1]", b"[::1]:80", True),
        ("[0::1]", b"[::0:1]", True),
        ("[::1]", b"[::2]", False),
        ("v1", b"[v1.x]", False),
    ],
)
def test_a_pattern_matches_a_host_in_any_case_and_with_any_port(
    pattern: str, host: bytes, matches: bool
) -> None:
    assert HostPattern.parse(pattern).matches(plain_host(host)) is matches


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.", "a.*", "*a.b", "*.*.a", "a:80", "[::1]:80", "::1", "[::g]", "[a]", "a b",
     "http://a", "a/", "u@a", ".a", "a.", "-a", "a" * 64, "\u00e4", "a\n"],
)  # fmt: skip
def test_other_texts_are_no_patterns(text: str) -> None:
    with pytest.raises(ValueError, match="neither a host without a port nor a pattern"):
        HostPattern.parse(text)


# Clients


@pytest.mark.parametrize(
    ("network", "peer", "is_in"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("fd00::/8", "fd12::1", True),
        ("::1", "::1", True),
        ("127.0.0.0/8", "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "::1", False),
        ("fe80::/10", "fe80::1%lo", True),
    ],
)
def test_a_network_includes_its_addresses(network: str, peer: str, is_in: bool) -> None:
    assert Peers([network]).include(peer) is is_in


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1/8", "10.0.0", "localhost", "::1/129", "1.2.3.4 ", "unix", "unix:/a"]
)
def test_other_texts_are_no_networks(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address, a network like"):
        peer_network(text)


def test_peers_are_in_any_of_their_networks_or_come_through_a_unix_socket() -> None:
    every_address = Peers(["0.0.0.0/0", "::/0"])
    assert [every_address.include(peer) for peer in ("10.0.0.1", "::1", "unix:", "")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert [Peers(["unix:"]).include(peer) for peer in ("10.0.0.1", "unix:", "")] == [
        False, True, False,
    ]  # fmt: skip
    assert not Peers([]).include("unix:")


def test_a_plain_address_has_no_zone_and_is_not_mapped() -> None:
    assert plain_address("::ffff:192.0.2.1") == ip_address("192.0.2.1")
    assert plain_address("::1") == ip_address("::1")


# Domains


@pytest.mark.parametrize("text", ["example.dev", "A.B.example", "xn--a.b", "a-b.c_d"])
def test_a_domain_has_several_labels(text: str) -> None:
    assert domain(text) == text.lower()


@pytest.mark.parametrize("text", ["", "dev", "localhost", ".a.b", "a.b.", "a..b", "*.a.b", "a.b:1"])
def test_other_texts_are_no_domains(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a domain like example\.dev"):
        domain(text)


@pytest.mark.parametrize(
    "text", ["{workspace}", "{workspace}.a", "w-{workspace}-x.a.b", "{workspace}.a.b."]
)
def test_a_template_has_one_placeholder_for_the_workspace(text: str) -> None:
    assert host_template(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "a", "{workspace}{workspace}", "{Workspace}.a", "{other}.{workspace}", "{workspace}:80",
     "{workspace}..", ".", "-{workspace}", "http://{workspace}"],
)  # fmt: skip
def test_other_texts_are_no_templates(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host name with \{workspace\} in it"):
        host_template(text)


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("{workspace}.localhost", "is a name of the loopback"),
        ("a.{workspace}.localhost.", "is a name of the loopback"),
        ("{workspace}.1", "is read as an IP address"),
        ("{workspace}.0x7f", "is read as an IP address"),
    ],
)
def test_a_template_names_other_machines_only(text: str, clause: str) -> None:
    with pytest.raises(ValueError, match=clause):
        host_template(text)


@pytest.mark.parametrize(
    "text", ["a", "App.example", "a:1", "a:65535", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80"]
)
def test_a_host_value_is_a_host_and_perhaps_a_port(text: str) -> None:
    assert host_value(text) == text


@pytest.mark.parametrize(
    "text",
    ["", ":80", "a:", "a:0", "a:65536", "a:000080", "a:b", "::1", "[::1", "[::1]80", "[a]", "a b",
     "a/", "u@a", "a,b", "[fe80::1%lo]", "a:\u0661", "a:80\n"],
)  # fmt: skip
def test_other_texts_are_no_host_values(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host, with or without a port"):
        host_value(text)
