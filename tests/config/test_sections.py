"""Sections: tokens, routing and rewriting; `test_proxy_config.py` has the others."""

from typing import Any

import pytest

from cmux_proxy.config.sections import Access, Rewriting, Routing
from cmux_proxy.errors import ConfigError


@pytest.mark.parametrize("token", ["a", "~!#", "0" * 4096])
def test_a_token_is_visible_ascii(token: str) -> None:
    assert Access(tokens=[token]).tokens == (token,)


@pytest.mark.parametrize("token", ["", " ", "a b", "a\tb", "a\n", "\u00e4", "\x7f"])
def test_a_malformed_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Access(tokens=["good", token])
    assert caught.value.field == "access.tokens"
    assert token == "" or repr(token) not in str(caught.value)


def test_an_access_does_not_show_its_tokens() -> None:
    assert "hush" not in repr(Access(tokens=["hush"]))


# Routing


def test_hosts_below_localhost_and_the_suffixes_name_ports() -> None:
    assert Routing().suffixes() == ["localhost"]
    assert Routing(host_suffixes=["Example.DEV"]).suffixes() == ["localhost", "example.dev"]
    assert Routing(host_suffixes=["a.b"], no_host_routing=True).suffixes() == []


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"host_suffixes": ["dev"]}, "host_suffixes"),
        ({"host_suffixes": "a.b"}, "host_suffixes"),
        ({"workspace_host": "{name}.a"}, "workspace_host"),
        ({"no_host_routing": 1}, "no_host_routing"),
    ],
)
def test_a_malformed_routing_is_refused(values: Any, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Routing(**values)
    assert caught.value.field == f"routing.{field}"


# Rewriting


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"host_header": "a b"}, "host_header"),
        ({"host_header": 1}, "host_header"),
        ({"rewrite_origin": "yes"}, "rewrite_origin"),
        ({"forwarded": "on"}, "forwarded"),
        ({"forwarded_rfc7239": None}, "forwarded_rfc7239"),
        ({"trusted_proxies": ["10.0.0.1/8"]}, "trusted_proxies"),
    ],
)
def test_a_malformed_rewriting_is_refused(values: Any, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Rewriting(**values)
    assert caught.value.field == f"rewriting.{field}"
