"""The dashboard in Chromium: what it shows of the proxy, and what it says aloud."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from cmux_proxy import workspace_ip
from cmux_proxy.config.sections import Access, Routing
from tests.helpers.browser import chromium
from tests.helpers.dashboards import ROW, get, opened, service, to, watched
from tests.helpers.proxies import proxy_process
from tests.helpers.timing import later
from tests.helpers.wire import closed_port


async def test_a_port_is_shown_with_its_process_figures_and_a_link_that_opens_it(
    tmp_path: Path,
) -> None:
    async with service(failing=["/bad"]) as port, opened(tmp_path) as (on, browser):
        row = await browser.becomes(f"{ROW}({port})")
        assert row["cells"] == ["\N{EN DASH}"] * 6
        assert f"(pid {os.getpid()})" in row["who"]
        assert row["link"] == f"http://{port}.localhost:{on.address.port}/"
        for path in ("/", "/", "/bad"):
            await get(on, to(port), path=path)
        row = await browser.becomes(f'(({ROW})({port}).cells[5] === "3") && {ROW}({port})')
        rate, p50, p99, errors, under_way, _ = row["cells"]
        assert float(rate) > 0
        assert all(each.endswith(" ms") for each in (p50, p99))
        assert (errors, under_way) == ("1", "0")
        assert await browser.evaluate("at('all-errors').textContent") == "1"
        await browser.follow(f"a[href*='{port}']")
        assert await browser.evaluate("document.title") == "here"


@pytest.mark.slow
async def test_ports_that_do_not_listen_and_workspaces_are_told_apart(tmp_path: Path) -> None:
    address = workspace_ip("ws-7")
    with closed_port() as closed:
        async with service(address) as port, opened(tmp_path) as (on, browser):
            assert (await get(on, to(closed))).startswith(b"HTTP/1.1 502")
            row = await browser.becomes(f"{ROW}({closed})")
            assert (row["who"], row["cells"][5]) == ("nothing listens", "1")
            row = await browser.becomes(f"{ROW}({port}, {address!r})")
            assert row["tags"] == ["7", address]
            await get(on, to(port), "X-Cmux-Workspace-Internal: ws-7")
            row = await browser.becomes(f"{ROW}({port}, 'ws-7')")
            assert row["link"] == f"http://ws-7-{port}.localhost:{on.address.port}/"
            own = await browser.evaluate(f"{ROW}({on.address.port})")
            assert (own["tags"], own["link"]) == (["the proxy"], None)
            admin = await browser.evaluate(f"{ROW}(location.port)")
            assert (admin["tags"], admin["link"]) == (["this page"], None)


@pytest.mark.slow
async def test_tunnels_are_listed_as_long_as_they_are_open(tmp_path: Path) -> None:
    async with service() as port, opened(tmp_path) as (on, browser):
        assert await browser.evaluate("at('tunnels').hidden") is True
        url = f"ws://{on.address}/ws"
        fields = {"X-Cmux-Port-Internal": str(port)}
        async with connect(url, additional_headers=fields, proxy=None) as tunnel:
            await tunnel.send("hello")
            assert await tunnel.recv() == "hello"
            shown = "[...at('tunnels').tBodies[0].rows].map((row) => row.innerText.split('\\t'))"
            (row,) = await browser.becomes(f"!at('tunnels').hidden && {shown}")
            assert row[:3] == [str(port), "upgrade /ws", "127.0.0.1"]
            assert await browser.evaluate("at('all-tunnels').textContent") == "1"
        await browser.becomes("at('tunnels').hidden")


@pytest.mark.slow
async def test_what_comes_from_outside_is_text_and_errors_are_said_aloud_once(
    tmp_path: Path,
) -> None:
    path = "/<img/src=x/onerror=alert(1)>"
    with closed_port() as closed:
        async with opened(tmp_path) as (on, browser):
            said = "at('news').textContent"
            assert await browser.evaluate(said) == ""
            await get(on, to(closed), path=path)
            text = await browser.becomes(said)
            assert text == f"An error. The last: 502 connection refused, port {closed}."
            rows = "[...at('errors').tBodies[0].rows].map((row) => row.cells[2].textContent)"
            assert await browser.evaluate(rows) == [f"GET {path}"]
            assert await browser.evaluate("document.querySelectorAll('img').length") == 0
            # The next ticks have nothing new to say.
            await browser.evaluate("window.seen = told.time; at('news').textContent = ''")
            await browser.becomes("told.time > seen + 1")
            assert await browser.evaluate(said) == ""


@pytest.mark.slow
async def test_a_lost_connection_is_said_and_found_again(tmp_path: Path) -> None:
    async with watched() as on, chromium(tmp_path, "127.0.0.1") as browser:
        async with on.told():
            await browser.open(on.page)
            await browser.becomes("at('state-text').textContent === 'Live'")
        await browser.becomes("at('state-text').textContent === 'Not connected'")
        notice = await browser.evaluate("at('notice').hidden ? null : at('notice').textContent")
        assert notice.startswith("No connection to the proxy. All below is from ")
        assert await browser.evaluate("at('news').textContent") == notice
        async with on.told():
            await browser.becomes("at('state-text').textContent === 'Live'")
            assert await browser.evaluate("at('notice').hidden") is True
            assert await browser.evaluate("at('news').textContent") == "Connected again."


@pytest.mark.slow
async def test_a_connection_over_which_nothing_comes_is_lost_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_on, browser):
        await browser.evaluate("source.onmessage = null")
        await browser.becomes("at('state').classList.contains('lost')")
        await browser.becomes("at('state').classList.contains('live')")


@pytest.mark.slow
async def test_a_filter_leaves_the_ports_that_have_all_its_words(tmp_path: Path) -> None:
    shown = "[...document.querySelectorAll('#ports .port')].map((each) => each.textContent)"
    async with service() as port, opened(tmp_path) as (_on, browser):
        await browser.becomes(f"{ROW}({port})")
        find = "at('filter').value = {}; at('filter').dispatchEvent(new Event('input'));"
        await browser.evaluate(find.format(f"'PYTEST {port}'"))
        assert await browser.evaluate(shown) == [str(port)]
        await browser.evaluate(find.format("'no such thing'"))
        assert await browser.evaluate(shown) == []
        assert await browser.evaluate("at('ports-empty').hidden") is False


@pytest.mark.slow
async def test_without_routing_by_host_there_are_no_links_but_the_field(tmp_path: Path) -> None:
    async with (
        service() as port,
        opened(tmp_path, routing=Routing(ignore_hosts=True)) as (on, browser),
    ):
        row = await browser.becomes(f"{ROW}({port})")
        assert row["link"] is None
        way = await browser.evaluate("at('way').textContent")
        assert "curl -H 'X-Cmux-Port-Internal: " in way
        assert way.endswith(f" http://{on.address}/")


@pytest.mark.slow
async def test_with_a_token_the_browser_that_has_sent_it_gets_the_news(tmp_path: Path) -> None:
    async with (
        watched(access=Access(tokens=["secret"])) as on,
        on.told(),
        chromium(tmp_path, "127.0.0.1") as browser,
    ):
        assert await browser.open(on.page.replace("//", "//me:secret@")) == 200
        await browser.becomes("at('state-text').textContent === 'Live'")


async def test_several_workers_tell_their_common_address(tmp_path: Path, loop_name: str) -> None:
    admin = tmp_path / "admin.sock"
    flags = ("--workers", "2", "--admin", f"unix:{admin}")
    async with proxy_process(loop_name, *flags) as proxy:
        reader, writer = await asyncio.open_unix_connection(str(admin))
        writer.write(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await later(reader.readuntil(b"data: "))
        news = json.loads(await later(reader.readline()))
        writer.close()
        assert news["workers"] == 2
        assert news["proxy"]["addresses"] == [f"127.0.0.1:{proxy.port}"]
        (own,) = [row for row in news["ports"] if row["own"] == "proxy"]
        assert own["port"] == proxy.port
        await proxy.stop()
