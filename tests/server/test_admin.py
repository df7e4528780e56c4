"""The admin listener of a proxy: bound before anything else, and only where it is configured."""

import asyncio
import importlib.util
import socket
from typing import Any

import pytest
from aiohttp import ClientSession

from cmux_proxy import ConfigError, ListenError, Observability, Proxy
from cmux_proxy.server.admin import administered, open_admin
from cmux_proxy.server.stats_rpc import LocalStats
from tests.helpers.proxies import local_config
from tests.helpers.timing import SOON


def test_where_none_is_configured_nothing_is_bound() -> None:
    config = local_config()
    assert open_admin(config) == (config, [])


def test_the_configuration_and_the_log_have_the_real_address(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    config, [sock] = open_admin(local_config(observability=Observability(admin="127.0.0.1:0")))
    address = f"127.0.0.1:{sock.getsockname()[1]}"
    assert config.observability.admin == address
    assert caplog.messages == [f"admin listener on {address}"]
    with pytest.raises(ListenError):
        open_admin(config)
    sock.close()
    _, [sock] = open_admin(config)
    sock.close()
    assert len(caplog.messages) == 1


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "aiohttp" else name
    )
    with pytest.raises(ConfigError) as caught:
        open_admin(local_config(observability=Observability(admin="127.0.0.1:0")))
    assert caught.value.field == "observability.admin"
    assert "pip install 'cmux-proxy[admin]'" in caught.value.reason


async def test_it_serves_a_proxy_in_the_same_loop() -> None:
    config, sockets = open_admin(local_config(observability=Observability(admin="127.0.0.1:0")))
    url = f"http://{config.observability.admin}/activity"
    async with (
        Proxy(config) as proxy,
        administered(config, sockets, LocalStats(proxy.stats)),
        ClientSession() as session,
        session.get(url) as response,
    ):
        activity: dict[str, Any] = await response.json()
    assert activity["ports"] == []
    assert all(sock.fileno() == -1 for sock in sockets)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::]"])
async def test_its_address_is_not_an_upstream(host: str) -> None:
    if host == "[::]" and not socket.has_ipv6:
        pytest.skip("needs IPv6")
    config, sockets = open_admin(local_config(observability=Observability(admin=f"{host}:0")))
    port = sockets[0].getsockname()[1]
    async with Proxy(config) as proxy:
        url = f"http://127.0.0.1:{proxy.addresses[0].port}/"
        headers = {"X-Cmux-Port-Internal": str(port)}
        # If it were one, the request would wait for ever, because nothing accepts there.
        async with (
            asyncio.timeout(SOON),
            ClientSession() as session,
            session.get(url, headers=headers) as response,
        ):
            assert response.status == 508
    for sock in sockets:
        sock.close()
