"""The dashboard in Chromium: focus, contrast, screen readers, and what its script computes."""

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
  const background = (node) => { for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    if (numbers(color)[3] !== 0) return color; } };
  const contrasts = [];
  for (const node of document.querySelectorAll("body *")) {
    const isText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!isText || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(node.tagName)) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(background(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    contrasts.push([contrast, node.textContent.slice(0, 40)]);
  }
  return contrasts.sort((a, b) => a[0] - b[0]);
})()"""


async def test_the_keyboard_focus_stays_while_rows_come_and_go(tmp_path: Path) -> None:
    focus = "document.activeElement.textContent"
    async with opened(tmp_path) as (_proxy, browser), service() as kept:
        await browser.wait_for(f"{ROW}({kept})")
        await browser.evaluate("byId('filter').focus()")
        while await browser.evaluate(focus) != str(kept):
            await browser.press("Tab")
        async with service() as other:
            await browser.wait_for(f"{ROW}({other})")
            assert await browser.evaluate(focus) == str(kept)
        await browser.wait_for(f"{ROW}({other}) === null")
        assert await browser.evaluate(focus) == str(kept)
        # It stays even if its own port is gone.
        ports = "state = { ...state, ports: [] }; renderPorts();"
        await browser.evaluate(f"source.close(); clearTimeout(timer); {ports}")
        assert await browser.evaluate(focus) == str(kept)
        await browser.evaluate(f"document.activeElement.blur(); {ports}")
        assert await browser.evaluate(f"{ROW}({kept})") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_has_contrast_and_a_narrow_window_needs_no_horizontal_scrolling(
    tmp_path: Path, scheme: str
) -> None:
    with closed_port() as closed:
        async with service() as port, opened(tmp_path) as (proxy, browser):
            await get(proxy, to(closed), path="/" + "a" * 300)
            await get(proxy, to(port), path="/")
            await browser.wait_for(f"!byId('errors').hidden && {ROW}({port})?.cells[5] === '1'")
            await browser.set_appearance(scheme, 360, 700, "prefers-reduced-motion: reduce")
            assert await browser.evaluate("innerWidth") == 360
            too_wide = "[document.documentElement, ...document.querySelectorAll('.box, .figures')]"
            too_wide += ".filter((box) => box.scrollWidth > box.clientWidth).length"
            assert await browser.evaluate(too_wide) == 0
            # AA: WCAG 2.2, 1.4.3.
            lowest, text = (await browser.evaluate(CONTRAST))[0]
            assert lowest >= 4.5, text
            dot = "getComputedStyle(document.querySelector('.dot')).animationName"
            assert await browser.evaluate(dot) == "none"


async def test_a_screen_reader_gets_names_of_tables_and_headers_of_rows(
    tmp_path: Path,
) -> None:
    async with service() as port, opened(tmp_path) as (_proxy, browser):
        await browser.wait_for(f"{ROW}({port})")
        spoken = await browser.accessibility_tree()
        names = {role: [name for other, name in spoken if other == role] for role, _ in spoken}
        assert names["heading"] == [
            "cmux-proxy 0.1.0", "Now", "Ports", "Last errors", "Open tunnels"
        ]  # fmt: skip
        assert names["table"][0].startswith("Requests per second cover the last")
        assert any(name.startswith(f"{port} ") for name in names["rowheader"])
        assert "Errors" in names["columnheader"]
        assert "Filter" in names["searchbox"]
        assert names["status"] is not None
        assert {"banner", "main", "contentinfo"} <= names.keys()


async def test_quantiles_are_estimated_within_their_buckets(tmp_path: Path) -> None:
    bounds = "[0.001, 0.01, 0.1]"
    async with opened(tmp_path) as (_proxy, browser):
        for fraction, buckets, expected in (
            (0.5, [0, 0, 0, 0], None),
            (0.5, [0, 10, 0, 0], 0.0055),
            (0.99, [50, 0, 50, 0], 0.0982),
            (0.5, [50, 0, 50, 0], 0.001),
            (1.0, [0, 0, 1, 0], 0.1),
        ):
            value = await browser.evaluate(f"quantile({fraction}, {buckets}, {bounds})")
            assert value == (expected if expected is None else pytest.approx(expected))
        text = f"latency(quantile(0.99, [0, 0, 0, 1], {bounds}), {bounds})"
        assert await browser.evaluate(text) == ">0.1 s"


async def test_rates_survive_a_clock_that_is_set_back_and_workers_that_restart(
    tmp_path: Path,
) -> None:
    values = """((samples) => {
      const history = new CounterHistory();
      for (const [time, count] of samples) {
        const counters = { total_requests: count, total_errors: count, answers: [count] };
        history.add(time, new Map([["a", counters]]));
      }
      return [history.rate("a"), history.errors("a"), history.durations("a")];
    })"""
    async with opened(tmp_path) as (_proxy, browser):
        for samples, expected in (
            ([[100, 5]], [None, None, [0]]),
            ([[100, 5], [102, 9]], [2, 4, [4]]),
            # The last ten seconds, and the last minute.
            ([[100, 0], [150, 10], [155, 30]], [4, 30, [30]]),
            ([[100, 0], [170, 10], [171, 30]], [20, 20, [20]]),
            # A worker has restarted; the clock has been set back.
            ([[100, 50], [101, 3]], [0, 0, [0]]),
            ([[100, 5], [40, 6], [41, 8]], [2, 2, [2]]),
            ([[100, 5], [100, 6]], [None, None, [0]]),
        ):
            assert await browser.evaluate(f"{values}({samples})") == expected


async def test_many_ports_and_tunnels_keep_their_rows_and_scroll(tmp_path: Path) -> None:
    many = """(() => {
      const copies = (list, count, change) =>
        Array.from({ length: count }, (_none, index) => ({ ...list[0], ...change(index) }));
      const asked = { requests: 0, tunnels: 5, total_requests: 1, total_errors: 0,
        answers: state.all.answers };
      const ports = copies(state.ports, 200, (index) => (
        { port: 20000 + index, own: null, asked }));
      const tunnel = { since: state.time, kind: "upgrade", path: "/", port: 1, workspace: null,
        client: null, bytes_in: 0, bytes_out: 0 };
      const open_tunnels = Array(200).fill(tunnel);
      disconnect();
      render({ ...state, ports, open_tunnels, tunnels: 1000 });
      const rows = (name) => byId(name).tBodies[0].rows;
      const row = rows("ports")[100];
      render({ ...state, time: state.time + 1 });
      return [rows("ports").length, rows("tunnels").length, row === rows("ports")[100],
        byId("ports-box").clientHeight < innerHeight, byId("tunnels").parentElement.tabIndex,
        byId("errors").parentElement.tabIndex, byId("tunnels-caption").textContent];
    })()"""
    async with opened(tmp_path) as (_proxy, browser):
        *figures, caption = await browser.evaluate(many)
        assert figures == [200, 200, True, True, 0, -1]
        assert caption.startswith("The 200 oldest of 1,000")
