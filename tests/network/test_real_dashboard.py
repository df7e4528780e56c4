"""The dashboard in Chromium: what it shows, what it says aloud, and that it keeps still."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import connect

from cmux_proxy import workspace_ip
from cmux_proxy.settings import Access, Routing
from tests.helpers.browser import Browser, chromium
from tests.helpers.dashboards import Watched, service, watched
from tests.helpers.proxies import proxy_process
from tests.helpers.timing import later
from tests.helpers.wire import Wire, closed_port

# The row of a port: what is in its cells, and where its link leads.
ROW: Final = """((port, tag) => {
  for (const row of document.querySelectorAll("#ports tbody tr")) {
    const tags = [...row.querySelectorAll(".tag")].map((each) => each.textContent).filter(Boolean);
    if (row.querySelector(".port").textContent !== String(port)) continue;
    if (tag && !tags.includes(tag)) continue;
    const cells = [...row.cells].slice(1).map((each) => each.textContent);
    return { tags, cells, who: row.querySelector(".who").textContent,
      link: row.querySelector("a:not([hidden])")?.href ?? null };
  }
  return null;
})"""
CONTRAST: Final = """(() => {
  const channel = (value) =>
    value <= 10.31475 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4;
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => { const [r, g, b] = numbers(color).map(channel);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = (node) => { for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    if (numbers(color)[3] !== 0) return color; } };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const isText = [...node.childNodes].some((each) => each.nodeType === 3 && each.data.trim());
    if (!isText || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(node.tagName)) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), node.textContent.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()"""


@contextlib.asynccontextmanager
async def opened(folder: Path, **options: Any) -> AsyncIterator[tuple[Watched, Browser]]:
    """Show the dashboard of a proxy; fail if the page has anything to complain about."""
    async with (
        watched(**options) as on,
        on.told(),
        chromium(folder, "127.0.0.1") as browser,
    ):
        await browser.looks("light", 1200, 900)
        assert await browser.open(on.page) == 200
        await browser.becomes("told !== null")
        yield on, browser
        assert browser.complaints == []


async def get(on: Watched, *fields: str, path: str = "/") -> bytes:
    """Ask the proxy for something and return the first line of the answer."""
    wire = await Wire.to(on.address.host, on.address.port)
    lines = [f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *fields, "", ""]
    await wire.send("\r\n".join(lines).encode())
    data = b""
    while piece := await later(wire.receive()):
        data += piece
    wire.close()
    return data.partition(b"\r\n")[0]


def to(port: int) -> str:
    return f"X-Cmux-Port-Internal: {port}"


async def test_a_port_is_shown_with_its_process_figures_and_a_link_that_opens_it(
    tmp_path: Path,
) -> None:
    async with service(failing=["/bad"]) as port, opened(tmp_path) as (on, browser):
        row = await browser.becomes(f"{ROW}({port})")
        assert row["cells"] == ["\N{EN DASH}"] * 6
        assert "pytest" in row["who"]
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


async def test_a_connection_over_which_nothing_comes_is_lost_too(tmp_path: Path) -> None:
    async with opened(tmp_path) as (_on, browser):
        await browser.evaluate("source.onmessage = null")
        await browser.becomes("at('state').classList.contains('lost')")
        await browser.becomes("at('state').classList.contains('live')")


async def test_the_keyboard_stays_where_it_is_while_rows_come_and_go(tmp_path: Path) -> None:
    focus = "document.activeElement.textContent"
    async with opened(tmp_path) as (_on, browser), service() as kept:
        await browser.becomes(f"{ROW}({kept})")
        await browser.evaluate("at('filter').focus()")
        while await browser.evaluate(focus) != str(kept):
            await browser.press("Tab")
        async with service() as other:
            await browser.becomes(f"{ROW}({other})")
            assert await browser.evaluate(focus) == str(kept)
        await browser.becomes(f"{ROW}({other}) === null")
        assert await browser.evaluate(focus) == str(kept)
        # Not even the end of what it is on throws it out.
        ports = "told = { ...told, ports: [] }; sayPorts();"
        await browser.evaluate(f"source.close(); clearTimeout(timer); {ports}")
        assert await browser.evaluate(focus) == str(kept)
        await browser.evaluate(f"document.activeElement.blur(); {ports}")
        assert await browser.evaluate(f"{ROW}({kept})") is None


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


async def test_with_a_token_the_browser_that_has_sent_it_gets_the_news(tmp_path: Path) -> None:
    async with (
        watched(access=Access(tokens=["secret"])) as on,
        on.told(),
        chromium(tmp_path, "127.0.0.1") as browser,
    ):
        assert await browser.open(on.page.replace("//", "//me:secret@")) == 200
        await browser.becomes("at('state-text').textContent === 'Live'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_can_be_read_and_a_narrow_window_needs_no_scrolling_sideways(
    tmp_path: Path, scheme: str
) -> None:
    with closed_port() as closed:
        async with service() as port, opened(tmp_path) as (on, browser):
            await get(on, to(closed), path="/" + "a" * 300)
            await get(on, to(port), path="/")
            await browser.becomes(f"!at('errors').hidden && {ROW}({port})?.cells[5] === '1'")
            await browser.looks(scheme, 360, 700, "prefers-reduced-motion: reduce")
            assert await browser.evaluate("innerWidth") == 360
            too_wide = "[document.documentElement, ...document.querySelectorAll('.box, .figures')]"
            too_wide += ".filter((each) => each.scrollWidth > each.clientWidth).length"
            assert await browser.evaluate(too_wide) == 0
            # AA: WCAG 2.2, 1.4.3.
            least, where = (await browser.evaluate(CONTRAST))[0]
            assert least >= 4.5, where
            dot = "getComputedStyle(document.querySelector('.dot')).animationName"
            assert await browser.evaluate(dot) == "none"


async def test_a_screen_reader_finds_tables_with_names_and_rows_with_headers(
    tmp_path: Path,
) -> None:
    async with service() as port, opened(tmp_path) as (_on, browser):
        await browser.becomes(f"{ROW}({port})")
        spoken = await browser.spoken()
        names = {role: [name for each, name in spoken if each == role] for role, _ in spoken}
        assert names["heading"] == [
            "cmux-proxy 0.1.0", "Now", "Ports", "Last errors", "Open tunnels"
        ]  # fmt: skip
        assert names["table"][0].startswith("Requests per second are those of")
        assert any(name.startswith(f"{port} ") for name in names["rowheader"])
        assert "Errors" in names["columnheader"]
        assert "Filter" in names["searchbox"]
        assert names["status"] is not None
        assert {"banner", "main", "contentinfo"} <= names.keys()


async def test_quantiles_are_estimated_within_their_buckets(tmp_path: Path) -> None:
    bounds = "[0.001, 0.01, 0.1]"
    async with opened(tmp_path) as (_on, browser):
        for part, buckets, expected in (
            (0.5, [0, 0, 0, 0], None),
            (0.5, [0, 10, 0, 0], 0.0055),
            (0.99, [50, 0, 50, 0], 0.0982),
            (0.5, [50, 0, 50, 0], 0.001),
            (1.0, [0, 0, 1, 0], 0.1),
        ):
            found = await browser.evaluate(f"quantile({part}, {buckets}, {bounds})")
            assert found == (expected if expected is None else pytest.approx(expected))
        text = f"latency(quantile(0.99, [0, 0, 0, 1], {bounds}), {bounds})"
        assert await browser.evaluate(text) == ">0.1 s"


async def test_a_rate_is_what_has_come_since_whatever_the_clock_and_the_workers_do(
    tmp_path: Path,
) -> None:
    counted = """((samples) => {
      const past = new Past();
      for (const [time, count] of samples) {
        const figures = { total_requests: count, total_errors: count, answers: [count] };
        past.add(time, new Map([["a", figures]]));
      }
      return [past.rate("a"), past.errors("a"), past.answers("a")];
    })"""
    async with opened(tmp_path) as (_on, browser):
        for samples, expected in (
            ([[100, 5]], [None, None, [0]]),
            ([[100, 5], [102, 9]], [2, 4, [4]]),
            # The last ten seconds, and the last minute.
            ([[100, 0], [150, 10], [155, 30]], [4, 30, [30]]),
            ([[100, 0], [170, 10], [171, 30]], [20, 20, [20]]),
            # A worker has been started anew, the clock has been set back.
            ([[100, 50], [101, 3]], [0, 0, [0]]),
            ([[100, 5], [40, 6], [41, 8]], [2, 2, [2]]),
            ([[100, 5], [100, 6]], [None, None, [0]]),
        ):
            assert await browser.evaluate(f"{counted}({samples})") == expected


async def test_many_ports_and_tunnels_do_not_hold_it_up(tmp_path: Path) -> None:
    many = """(() => {
      const copies = (list, count, change) =>
        Array.from({ length: count }, (_none, place) => ({ ...list[0], ...change(place) }));
      const asked = { requests: 0, tunnels: 5, total_requests: 1, total_errors: 0,
        answers: told.all.answers };
      const ports = copies(told.ports, 200, (place) => ({ port: 20000 + place, own: null, asked }));
      const tunnel = { since: told.time, kind: "upgrade", path: "/", port: 1, workspace: null,
        client: null, bytes_in: 0, bytes_out: 0 };
      const open_tunnels = Array(200).fill(tunnel);
      rest();
      take({ data: JSON.stringify({ ...told, ports, open_tunnels, tunnels: 1000 }) });
      const rows = (name) => at(name).tBodies[0].rows;
      const row = rows("ports")[100];
      take({ data: JSON.stringify({ ...told, time: told.time + 1 }) });
      return [rows("ports").length, rows("tunnels").length, row === rows("ports")[100],
        at("ports-box").clientHeight < innerHeight, at("tunnels").parentElement.tabIndex,
        at("errors").parentElement.tabIndex, at("tunnels-caption").textContent];
    })()"""
    async with opened(tmp_path) as (_on, browser):
        *figures, caption = await browser.evaluate(many)
        assert figures == [200, 200, True, True, 0, -1]
        assert caption.startswith("The 200 oldest of 1,000")


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
