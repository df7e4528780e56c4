"""Host, Origin and forwarded fields of the forwarded request; without sockets."""

from typing import Any

import pytest

from cmux_proxy import Config, Rewriting
from tests.helpers.fakes import World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
PEER = "192.0.2.9"
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")


def sent(
    lines: tuple[str, ...], start: str = "GET / HTTP/1.1", peer: str = PEER, **rules: Any
) -> list[str]:
    """Return the lines of the request that reaches the upstream, without its request line."""
    world = World(Config(rewriting=Rewriting(**rules)))
    world.peer = peer
    client = world.client()
    client.arrives(head(start, ROUTE, *lines))
    assert not client.got, client.got
    received = bytes(world.dial().succeeds().got).decode("ascii")
    request_line, *field_lines = received.removesuffix("\r\n\r\n").split("\r\n")
    assert request_line == "GET / HTTP/1.1"
    return field_lines


def test_without_rules_nothing_changes() -> None:
    assert World().services.rewriter is None
    lines = ("X-Forwarded-For: a", "Host: h", "Origin: http://h", "Forwarded: for=x")
    assert sent(lines) == list(lines)


# Host


@pytest.mark.parametrize("more", [(), UPGRADE], ids=["plain", "upgrade"])
@pytest.mark.parametrize(
    ("rule", "expected"), [("upstream", "localhost:80"), ("app.test:1", "app.test:1")]
)
def test_the_configured_host_replaces_the_received_one(
    rule: str, expected: str, more: tuple[str, ...]
) -> None:
    lines = ("A: 1", "hOST: web.dev", "B: 2", *more)
    assert sent(lines, host_header=rule) == [f"Host: {expected}", "A: 1", "B: 2", *more]


@pytest.mark.parametrize("more", [(), UPGRADE], ids=["plain", "upgrade"])
@pytest.mark.parametrize("rule", ["preserve", "upstream", "app.test"])
def test_the_host_override_of_a_request_has_precedence(rule: str, more: tuple[str, ...]) -> None:
    lines = ("Host: web.dev", "X-Cmux-Host-Override: localhost:5173", *more)
    assert sent(lines, host_header=rule) == ["Host: localhost:5173", *more]


def test_the_host_of_the_target_is_replaced_too() -> None:
    start = "GET http://web.dev/ HTTP/1.1"
    assert sent(("Host: x",), start, host_header="upstream") == ["Host: localhost:80"]
    assert sent(("Host: x", "X-Cmux-Host-Override: o"), start) == ["Host: o"]


def test_a_request_of_http10_without_a_host_gets_one() -> None:
    assert sent((), "GET / HTTP/1.0", host_header="upstream") == ["Host: localhost:80"]
    assert sent((), "GET / HTTP/1.0", forwarded="strip") == ["Host: 127.0.0.1:80"]


# Origin


@pytest.mark.parametrize("more", [(), UPGRADE], ids=["plain", "upgrade"])
def test_origin_and_referer_follow_the_host(more: tuple[str, ...]) -> None:
    lines = ("Host: Web.dev:8080", "Origin: http://web.DEV:8080",
             "Referer: http://web.dev:8080/a?b=http://web.dev:8080/", *more)  # fmt: skip
    assert sent(lines, host_header="upstream", rewrite_origin=True) == [
        "Host: localhost:80", *more, "Origin: http://localhost:80",
        "Referer: http://localhost:80/a?b=http://web.dev:8080/",
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "wss", "https, http", " https\t,http"])
def test_the_scheme_is_taken_from_x_forwarded_proto(scheme: str) -> None:
    lines = (f"X-Forwarded-Proto: {scheme}", "Host: web.dev", "Origin: https://Web.dev",
             "Referer: https://web.dev")  # fmt: skip
    assert sent(lines, host_header="upstream", rewrite_origin=True) == [
        "Host: localhost:80", lines[0], "Origin: http://localhost:80",
        "Referer: http://localhost:80/",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ((), "Origin: https://web.dev"),
        ((), "Origin: ftp://web.dev"),
        ((), "Origin: chrome-extension://web.dev"),
        ((), "Origin: http://web.dev/"),
        (("X-Forwarded-Proto: http",), "Origin: https://web.dev"),
        (("X-Forwarded-Proto: http, https",), "Origin: https://web.dev"),
        (("X-Forwarded-Proto: https",), "Origin: http://web.dev"),
        (("X-Forwarded-Proto: https",), "Origin: wss://web.dev"),
        (("X-Forwarded-Proto:",), "Origin: https://web.dev"),
    ],
)
def test_an_origin_with_another_scheme_is_unchanged(fields: tuple[str, ...], line: str) -> None:
    lines = ("Host: web.dev", *fields, line)
    expected = ["Host: localhost:80", *fields, line]
    assert sent(lines, host_header="upstream", rewrite_origin=True) == expected


@pytest.mark.parametrize(
    ("rules", "is_trusted"),
    [
        ({"forwarded": "append"}, False),
        ({"forwarded": "strip"}, False),
        ({"forwarded": "append", "trusted_proxies": [PEER]}, True),
    ],
    ids=["from any peer", "stripped", "from a trusted peer"],
)
def test_x_forwarded_proto_counts_only_from_a_trusted_peer(
    rules: dict[str, Any], is_trusted: bool
) -> None:
    lines = ("Host: web.dev", "X-Forwarded-Proto: https", "Origin: https://web.dev")
    got = sent(lines, host_header="upstream", rewrite_origin=True, **rules)
    assert ("Origin: http://localhost:80" if is_trusted else lines[2]) in got


def test_a_referer_with_another_scheme_is_unchanged() -> None:
    lines = ("Host: web.dev", "Origin: http://web.dev", "Referer: https://web.dev/a")
    assert sent(lines, host_header="a.test", rewrite_origin=True) == [
        "Host: a.test", "Referer: https://web.dev/a", "Origin: http://a.test",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["Origin: http://evil.test", "Origin: null", "Origin: http://web.dev.evil.test", "Origin:",
     "Origin: http://web.dev:8080", "Origin: http://evil@web.dev", "Origin: web.dev",
     "Referer: http://web.dev/"],
)  # fmt: skip
def test_an_origin_with_another_host_is_unchanged(line: str) -> None:
    lines = ("Host: web.dev", line)
    assert sent(lines, host_header="upstream", rewrite_origin=True) == ["Host: localhost:80", line]


def test_a_referer_with_another_host_is_unchanged() -> None:
    lines = ("Host: web.dev", "Origin: http://web.dev", "Referer: http://other.test/")
    assert sent(lines, host_header="a.test", rewrite_origin=True) == [
        "Host: a.test", "Referer: http://other.test/", "Origin: http://a.test",
    ]  # fmt: skip


def test_two_origins_are_unchanged() -> None:
    lines = ("Host: web.dev", "Origin: http://web.dev", "Origin: http://web.dev")
    assert sent(lines, host_header="a.test", rewrite_origin=True) == ["Host: a.test", *lines[1:]]


def test_an_origin_is_unchanged_if_the_host_is() -> None:
    lines = ("Host: web.dev", "Origin: http://web.dev")
    assert sent(lines, rewrite_origin=True) == list(lines)
    assert sent(lines, host_header="a.test") == ["Host: a.test", lines[1]]


# Forwarded

GIVEN = (
    "Host: web.dev",
    "X-Forwarded-For: 1.1.1.1",
    "x-forwarded-for: 2.2.2.2, 3.3.3.3",
    "X-Forwarded-Host: edge.dev",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 443",
    "X-Real-IP: 1.1.1.1",
    "Forwarded: for=1.1.1.1",
    "X-Forwarded: stays",
    "X_Forwarded_For: 6.6.6.6",
    "x-forwarded_for: 6.6.6.6",
    "X_FORWARDED-Host: evil",
    "X_Forwarded_Proto: https",
    "X_Forwarded_Port: 1",
    "X-Forwarded_Server: evil",
    "X_Real_IP: 6.6.6.6",
)
OURS = [f"X-Forwarded-For: {PEER}", "X-Forwarded-Host: web.dev", "X-Forwarded-Proto: http"]


@pytest.mark.parametrize("more", [(), UPGRADE], ids=["plain", "upgrade"])
def test_strip_removes_all_forwarded_fields(more: tuple[str, ...]) -> None:
    assert sent((*GIVEN, *more), forwarded="strip") == [
        "Host: web.dev",
        "X-Forwarded: stays",
        *more,
    ]


@pytest.mark.parametrize("more", [(), UPGRADE], ids=["plain", "upgrade"])
def test_append_removes_the_fields_of_an_untrusted_peer(more: tuple[str, ...]) -> None:
    lines = sent((*GIVEN, *more), forwarded="append", trusted_proxies=["10.0.0.0/8"])
    assert lines == ["Host: web.dev", "X-Forwarded: stays", *more, *OURS]


@pytest.mark.parametrize("more", [(), UPGRADE], ids=["plain", "upgrade"])
def test_append_keeps_the_fields_of_a_trusted_peer(more: tuple[str, ...]) -> None:
    lines = sent((*GIVEN, *more), forwarded="append", trusted_proxies=["192.0.2.0/24"])
    assert lines == [
        "Host: web.dev", "X-Forwarded-Host: edge.dev", "X-Forwarded-Proto: https",
        "X-Forwarded-Port: 443", "X-Real-IP: 1.1.1.1", "Forwarded: for=1.1.1.1",
        "X-Forwarded: stays", *more,
        f"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, {PEER}",
    ]  # fmt: skip


def test_a_unix_socket_is_trusted_if_it_is_listed_and_has_no_address() -> None:
    rules: Any = {"forwarded": "append", "trusted_proxies": ["unix:"]}
    lines = ("Host: web.dev", "X-Forwarded-For: 1.1.1.1")
    assert sent(lines, peer="unix:", **rules)[1] == "X-Forwarded-For: 1.1.1.1, unknown"
    assert sent(lines, **rules)[1] == f"X-Forwarded-For: {PEER}"
    rules["trusted_proxies"] = ["0.0.0.0/0"]
    assert sent(lines, peer="unix:", **rules)[1] == "X-Forwarded-For: unknown"


def test_x_forwarded_host_is_the_received_host() -> None:
    lines = sent(("Host: web.dev",), forwarded="append", host_header="upstream")
    assert lines == ["Host: localhost:80", *OURS]


@pytest.mark.parametrize(
    ("peer", "node"),
    [
        (PEER, f"for={PEER}"),
        ("2001:db8::1", 'for="[2001:db8::1]"'),
        ("fe80::1%eth0", 'for="[fe80::1]"'),
        (f"::ffff:{PEER}", f"for={PEER}"),
        ("", "for=unknown"),
        ("unix:", "for=unknown"),
    ],
)
def test_forwarded_contains_the_peer(peer: str, node: str) -> None:
    rules: Any = {"forwarded": "append", "forwarded_rfc7239": True}
    lines = sent(("Host: web.dev:80",), peer=peer, **rules)
    assert lines[-1] == f'Forwarded: {node};host="web.dev:80";proto=http'


def test_forwarded_of_a_trusted_peer_is_continued() -> None:
    rules: Any = {"forwarded": "append", "forwarded_rfc7239": True, "trusted_proxies": [PEER]}
    lines = sent(("Host: h", "Forwarded: for=a", "Forwarded: for=b, for=c"), **rules)
    assert lines[-1] == f'Forwarded: for=a, for=b, for=c, for={PEER};host="h";proto=http'


def test_an_origin_that_connection_nominates_is_removed() -> None:
    lines = ("Host: h", "Connection: origin", "Origin: http://h")
    assert sent(lines, host_header="a", rewrite_origin=True) == ["Host: a"]


def test_names_with_an_underscore_are_forwarded_without_rules_for_them() -> None:
    lines = ("Host: h", "X_Forwarded_For: 1.1.1.1", "X_Real_IP: 1.1.1.1")
    assert sent(lines, host_header="preserve") == list(lines)
    assert sent((*lines, "X_Forwarded: 1"), forwarded="strip") == ["Host: h", "X_Forwarded: 1"]


def test_entries_of_fields_that_connection_nominates_are_not_continued() -> None:
    lines = ("Host: h", "Connection: X-Forwarded-For, x-forwarded-host",
             "X-Forwarded-For: 1.1.1.1", "X-Forwarded-Host: edge")  # fmt: skip
    assert sent(lines, forwarded="append", trusted_proxies=[PEER]) == ["Host: h", *OURS[:1],
        "X-Forwarded-Host: h", "X-Forwarded-Proto: http"]  # fmt: skip


def test_lines_that_connection_nominates_do_not_remove_lines_of_the_proxy() -> None:
    lines = ("Host: h", "Connection: X-Forwarded-For, Upgrade", "Upgrade: w", "X-Forwarded-For: 1")
    assert sent(lines, forwarded="append") == [
        "Host: h", "Upgrade: w", "Connection: upgrade", f"X-Forwarded-For: {PEER}",
        "X-Forwarded-Host: h", "X-Forwarded-Proto: http",
    ]  # fmt: skip
