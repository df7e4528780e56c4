"""The dashboard in Chromium: that it keeps still, can be read by everybody, and counts well."""

from pathlib import Path
from typing import Final

import pytest

from tests.helpers.dashboards import ROW, get, opened, service, to
from tests.helpers.wire import closed_port

pytestmark = pytest.mark.slow

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
