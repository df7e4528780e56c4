"""The dashboard in Chromium: what it shows of the proxy, and what screen readers announce."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from cmux_proxy import workspace_ip
from cmux_proxy.config.sections import Access, Routing
from tests.helpers.browser import chromium
from tests.helpers.dashboards import ROW, get, opened, proxy_with_admin, service, to
from tests.helpers.proxies import proxy_process
from tests.helpers.timing import later
from tests.helpers.wire import closed_port


async def test_a_port_is_shown_with_its_process_values_and_a_link_that_opens_it(
    tmp_path: Path,
) -> None:
    async with service(failing=["/bad"]) as port, opened(tmp_path) as (proxy, browser):
        row = await browser.wait_for(f"{ROW}({port})")
        assert row["cells"] == ["\N{EN DASH}"] * 6
        assert f"(pid {os.getpid()})" in row["process"]
        assert row["link"] == f"http://{port}.localhost:{proxy.address.port}/"
        for path in ("/", "/", "/bad"):
            await get(proxy, to(port), path=path)
        row = await browser.wait_for(f'(({ROW})({port}).cells[5] === "3") && {ROW}({port})')
        rate, p50, p99, errors, under_way, _ = row["cells"]
        assert float(rate) > 0
        assert all(latency.endswith(" ms") for latency in (p50, p99))
        assert (errors, under_way) == ("1", "0")
        assert await browser.evaluate("byId('all-errors').textContent") == "1"
        await browser.follow(f"a[href*='{port}']")
        assert await browser.evaluate("document.title") == "here"


@pytest.mark.slow
async def test_ports_that_do_not_listen_and_workspaces_are_distinguished(tmp_path: Path) -> None:
    address = workspace_ip("ws-7")
    with closed_port() as closed:
        async with service(address) as port, opened(tmp_path) as (proxy, browser):
            assert (await get(proxy, to(closed))).startswith(b"HTTP/1.1 502")
            row = await browser.wait_for(f"{ROW}({closed})")
            assert (row["process"], row["cells"][5]) == ("nothing listens", "1")
            row = await browser.wait_for(f"{ROW}({port}, {address!r})")
            assert row["tags"] == ["7", address]
            await get(proxy, to(port), "X-Cmux-Workspace-Internal: ws-7")
            row = await browser.wait_for(f"{ROW}({port}, 'ws-7')")
            assert row["link"] == f"http://ws-7-{port}.localhost:{proxy.address.port}/"
            own = await browser.evaluate(f"{ROW}({proxy.address.port})")
            assert (own["tags"], own["link"]) == (["the proxy"], None)
            admin = await browser.evaluate(f"{ROW}(location.port)")
            assert (admin["tags"], admin["link"]) == (["this page"], None)


@pytest.mark.slow
async def test_tunnels_are_listed_while_they_are_open(tmp_path: Path) -> None:
    async with service() as port, opened(tmp_path) as (proxy, browser):
        assert await browser.evaluate("byId('tunnels').hidden") is True
        url = f"ws://{proxy.address}/ws"
        fields = {"X-Cmux-Port-Internal": str(port)}
        async with connect(url, additional_headers=fields, proxy=None) as tunnel:
            await tunnel.send("hello")
            assert await tunnel.recv() == "hello"
            shown = "[...byId('tunnels').tBodies[0].rows].map((row) => row.innerText.split('\\t'))"
            (row,) = await browser.wait_for(f"!byId('tunnels').hidden && {shown}")
            assert row[:3] == [str(port), "upgrade /ws", "127.0.0.1"]
            assert await browser.evaluate("byId('all-tunnels').textContent") == "1"
        await browser.wait_for("byId('tunnels').hidden")


@pytest.mark.slow
async def test_texts_of_clients_stay_text_and_errors_are_announced_once(
    tmp_path: Path,
) -> None:
    path = "/<img/src=x/onerror=alert(1)>"
    with closed_port() as closed:
        async with opened(tmp_path) as (proxy, browser):
            announced = "byId('announcement').textContent"
            assert await browser.evaluate(announced) == ""
            await get(proxy, to(closed), path=path)
            text = await browser.wait_for(announced)
            assert text == f"An error. The last: 502 connection refused, port {closed}."
            rows = "[...byId('errors').tBodies[0].rows].map((row) => row.cells[2].textContent)"
            assert await browser.evaluate(rows) == [f"GET {path}"]
            assert await browser.evaluate("document.querySelectorAll('img').length") == 0
            # The next events have no new error.
            await browser.evaluate(
                "window.before = state.time; byId('announcement').textContent = ''"
            )
            await browser.wait_for("state.time > before + 1")
            assert await browser.evaluate(announced) == ""


@pytest.mark.slow
async def test_a_lost_connection_is_announced_and_opened_again(tmp_path: Path) -> None:
    async with proxy_with_admin() as proxy, chromium(tmp_path, "127.0.0.1") as browser:
        async with proxy.admin_listener():
            await browser.open(proxy.page)
            await browser.wait_for("byId('state-text').textContent === 'Live'")
        await browser.wait_for("byId('state-text').textContent === 'Not connected'")
        notice = await browser.evaluate("byId('notice').hidden ? null : byId('notice').textContent")
        assert notice.startswith("No connection to the proxy. All values below are from ")
        assert await browser.evaluate("byId('announcement').textContent") == notice
        async with proxy.admin_listener():
            await browser.wait_for("byId('state-text').textContent === 'Live'")
            assert await browser.evaluate("byId('notice').hidden") is True
            assert await browser.evaluate("byId('announcement').textContent") == "Connected again."


@pytest.mark.slow
async def test_a_connection_without_events_is_lost_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_proxy, browser):
        await browser.evaluate("source.onmessage = null")
        await browser.wait_for("byId('state').classList.contains('lost')")
        await browser.wait_for("byId('state').classList.contains('live')")


@pytest.mark.slow
async def test_a_filter_shows_the_ports_that_match_all_its_words(tmp_path: Path) -> None:
    shown = "[...document.querySelectorAll('#ports .port')].map((node) => node.textContent)"
    async with service() as port, opened(tmp_path) as (_proxy, browser):
        await browser.wait_for(f"{ROW}({port})")
        set_filter = "byId('filter').value = {}; byId('filter').dispatchEvent(new Event('input'));"
        await browser.evaluate(set_filter.format(f"'PID {port}'"))
        assert await browser.evaluate(shown) == [str(port)]
        await browser.evaluate(set_filter.format("'no such thing'"))
        assert await browser.evaluate(shown) == []
        assert await browser.evaluate("byId('ports-empty').hidden") is False


@pytest.mark.slow
async def test_without_routing_by_host_the_hint_names_the_field(
    tmp_path: Path,
) -> None:
    async with (
        service() as port,
        opened(tmp_path, routing=Routing(no_host_routing=True)) as (proxy, browser),
    ):
        row = await browser.wait_for(f"{ROW}({port})")
        assert row["link"] is None
        hint = await browser.evaluate("byId('hint').textContent")
        assert "curl -H 'X-Cmux-Port-Internal: " in hint
        assert hint.endswith(f" http://{proxy.address}/")


@pytest.mark.slow
async def test_a_browser_that_has_sent_the_token_gets_events(tmp_path: Path) -> None:
    async with (
        proxy_with_admin(access=Access(tokens=["secret"])) as proxy,
        proxy.admin_listener(),
        chromium(tmp_path, "127.0.0.1") as browser,
    ):
        assert await browser.open(proxy.page.replace("//", "//me:secret@")) == 200
        await browser.wait_for("byId('state-text').textContent === 'Live'")


async def test_several_workers_report_their_common_address(tmp_path: Path, loop_name: str) -> None:
    admin = tmp_path / "admin.sock"
    flags = ("--workers", "2", "--admin", f"unix:{admin}")
    async with proxy_process(loop_name, *flags) as proxy:
        reader, writer = await asyncio.open_unix_connection(str(admin))
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await later(reader.readuntil(b"data: "))
        event = json.loads(await later(reader.readline()))
        writer.close()
        assert event["workers"] == 2
        assert event["proxy"]["addresses"] == [f"127.0.0.1:{proxy.port}"]
        (own,) = [row for row in event["ports"] if row["own"] == "proxy"]
        assert own["port"] == proxy.port
        await proxy.stop()
