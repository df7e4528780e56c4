"""Hosts that name a workspace and a port."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.routing.host_label import HostLabel, HostSuffixes

SUFFIXES = HostSuffixes(["localhost", "example.dev"])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"3000.localhost", HostLabel(None, 3000)),
        (b"3000.localhost:8080", HostLabel(None, 3000)),
        (b"3000.LOCALHOST.:8080", HostLabel(None, 3000)),
        (b"ws-1-5173.localhost", HostLabel("ws-1", 5173)),
        (b"WS-1-5173.Example.DEV:1", HostLabel("ws-1", 5173)),
        (b"a--80.localhost", HostLabel("a-", 80)),
        (b"a_b-65535.example.dev", HostLabel("a_b", 65535)),
        (b"localhost", None),
        (b"localhost:8080", None),
        (b"a.localhost", None),
        (b"a-b.localhost", None),
        (b"-3000.localhost", None),
        (b"a-.localhost", None),
        (b"0.localhost", None),
        (b"a-0.localhost", None),
        (b"a-65536.localhost", None),
        (b"a-+80.localhost", None),
        (b"a.b-3000.localhost", None),
        (b"3000.a.localhost", None),
        (b"3000.localhost.evil", None),
        (b"3000.xlocalhost", None),
        (b"3000.dev", None),
        (b".localhost", None),
        (b"[::1]:8080", None),
        (b"127.0.0.1:8080", None),
        (b"a%2d-80.localhost", HostLabel("a%2d", 80)),
    ],
)
def test_the_last_dash_separates_workspace_and_port(
    host: bytes, expected: HostLabel | None
) -> None:
    assert SUFFIXES.read(host) == expected


def test_a_suffix_may_end_in_another_one() -> None:
    suffixes = HostSuffixes(["example.dev", "a.example.dev"])
    assert suffixes.read(b"80.a.example.dev") == HostLabel(None, 80)
    assert suffixes.read(b"80.example.dev") == HostLabel(None, 80)


def test_without_suffixes_no_host_names_a_port() -> None:
    assert HostSuffixes([]).read(b"3000.localhost") is None


@given(st.binary())
def test_any_bytes_name_a_valid_port_or_none(host: bytes) -> None:
    label = SUFFIXES.read(host + b".localhost")
    assert label is None or 1 <= label.port <= 65535
