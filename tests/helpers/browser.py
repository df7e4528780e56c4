"""Headless Chromium, driven over the DevTools protocol.

A page sends a text to the test by calling `report(text)`. The browser connects to loopback only:
no host name resolves except names below .localhost and the given names.
"""

import asyncio
import base64
import contextlib
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect

from tests.helpers.timing import LATER, later
from tests.helpers.tools import program, tool, wait_for_output

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # Root has none, and all pages are ours.
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)
_KEYS: Final = {"Tab": 9, "Enter": 13}


class Browser:
    """A running Chromium with one page.

    `sockets` are the URLs of its WebSockets, `console_errors` are the messages of its console,
    `document` is what DevTools knows of the response with the page.
    """

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._session: dict[str, str] = {}
        self._last_id = 0
        self._events: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self.sockets: list[str] = []
        self.console_errors: list[str] = []
        self.document: dict[str, Any] = {}

    async def attach(self) -> None:
        """Create the page."""
        page = await self._call("Target.createTarget", url="about:blank")
        session = await self._call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = {"sessionId": session["sessionId"]}
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self._call(f"{domain}.enable")
        await self._call("Runtime.addBinding", name="report")

    async def open(self, url: str) -> int:
        """Open a page and wait until it has loaded; return its status."""
        self._events.clear()
        page = await self._call("Page.navigate", url=url)
        assert "errorText" not in page, f"{url}: {page['errorText']}"
        await self._event("Page.loadEventFired")
        while True:
            event = await self._event("Network.responseReceived")
            # A response to a request of the previous page may still arrive.
            if event["type"] == "Document" and event["loaderId"] == page["loaderId"]:
                self.document = event["response"]
                return int(self.document["status"])

    async def open_tab(self, url: str) -> None:
        """Open a page in another tab, which lives until the browser is closed; do not wait."""
        await self._call_browser("Target.createTarget", url=url)

    async def refusal(self, url: str) -> str:
        """Return the error of a page that cannot be opened."""
        return str((await self._call("Page.navigate", url=url))["errorText"])

    async def follow(self, selector: str) -> None:
        """Click on the link that a selector matches, and wait until its page has loaded."""
        self._events.clear()
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
        await self._event("Page.loadEventFired")

    async def next_report(self) -> str:
        """Return the next text that a page reports; waits for it."""
        return str((await self._event("Runtime.bindingCalled"))["payload"])

    async def next_websocket_status(self) -> int:
        """Return the status of the next handshake of a WebSocket; waits for it."""
        event = await self._event("Network.webSocketHandshakeResponseReceived")
        return int(event["response"]["status"])

    async def next_websocket_message(self) -> str:
        """Return the next message that one of the page's WebSockets receives; waits for it."""
        return str((await self._event("Network.webSocketFrameReceived"))["response"]["payloadData"])

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page; waits for a promise."""
        evaluated = await self._call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in evaluated, evaluated["exceptionDetails"]
        return evaluated["result"].get("value")

    async def wait_for(self, expression: str) -> Any:
        """Wait until an expression is truthy in the page, and return its value."""
        poll = (
            "new Promise((resolve) => { const poll = () => { "
            f"const value = ({expression}); "
            "if (value) resolve(value); else setTimeout(poll, 20); }; poll(); })"
        )
        try:
            async with asyncio.timeout(LATER):
                return await self.evaluate(poll)
        except TimeoutError:
            raise AssertionError(f"never true: {expression}; {self.console_errors}") from None

    async def set_appearance(self, scheme: str, width: int, height: int, *features: str) -> None:
        """Set the colour scheme, the size in CSS pixels, and media features as "name: value"."""
        settings = [f"prefers-color-scheme: {scheme}", *features]
        pairs = [setting.split(": ") for setting in settings]
        media = [{"name": name, "value": value} for name, value in pairs]
        await self._call("Emulation.setEmulatedMedia", features=media)
        await self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    async def ignore_certificate_errors(self) -> None:
        """Accept every certificate, in all tabs."""
        await self._call_browser("Security.setIgnoreCertificateErrors", ignore=True)

    async def hide_scroll_bars(self) -> None:
        """Hide scroll bars, for screenshots."""
        await self._call("Emulation.setScrollbarsHidden", hidden=True)

    async def press(self, key: str) -> None:
        """Press a named key, such as Tab."""
        for event in ("keyDown", "keyUp"):
            code = _KEYS.get(key, 0)
            await self._call(
                "Input.dispatchKeyEvent", type=event, key=key, windowsVirtualKeyCode=code
            )

    async def screenshot(self) -> bytes:
        """Return a screenshot of the visible page, as PNG."""
        shot = await self._call("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    async def accessibility_tree(self) -> list[tuple[str, str]]:
        """Return role and name of each node that a screen reader announces, in its order."""
        tree = await self._call("Accessibility.getFullAXTree")
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree["nodes"]
            if not node["ignored"]
        ]

    async def close(self) -> None:
        """Close the browser."""
        self._session = {}
        await self._call("Browser.close")

    async def _event(self, name: str) -> dict[str, Any]:
        """Return the next event of this name; waits for it."""
        try:
            async with asyncio.timeout(LATER):
                while not self._events[name]:
                    await self._receive()
                return self._events[name].popleft()
        except TimeoutError:
            raise AssertionError(f"no {name}; {self.sockets} {self.console_errors}") from None

    async def _call_browser(self, method: str, **parameters: Any) -> None:
        """Call a method that is about the browser and not about the page."""
        session, self._session = self._session, {}
        await self._call(method, **parameters)
        self._session = session

    async def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        command = {"id": self._last_id, "method": method, "params": parameters, **self._session}
        await self._devtools.send(json.dumps(command))
        while (response := await later(self._receive())).get("id") != self._last_id:
            pass
        assert "error" not in response, f"{method}: {response['error']}"
        result: dict[str, Any] = response["result"]
        return result

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._devtools.recv())
        name, parameters = message.get("method", ""), message.get("params", {})
        if name == "Network.webSocketCreated":
            self.sockets.append(parameters["url"])
        elif name == "Log.entryAdded":
            self.console_errors.append(parameters["entry"]["text"])
        elif name == "Runtime.exceptionThrown":
            self.console_errors.append(str(parameters["exceptionDetails"]))
        if name:
            self._events[name].append(parameters)
        return message


@contextlib.asynccontextmanager
async def chromium(folder: Path, *names: str) -> AsyncIterator[Browser]:
    """Run a Chromium that stores its files in this folder and resolves the names to 127.0.0.1."""
    rules = [f"MAP {name} 127.0.0.1" for name in names]
    rules += ["MAP * ~NOTFOUND", "EXCLUDE *.localhost"]
    command = [tool("chromium"), *_FLAGS, f"--host-resolver-rules={', '.join(rules)}"]
    command += [f"--user-data-dir={folder / 'chromium'}"]
    async with program(*command, folder=folder, variables={"HOME": str(folder)}) as process:
        url = await wait_for_output(process, "DevTools listening on ([^ \n]+)")
        async with connect(url, proxy=None, max_size=None, compression=None) as devtools:
            browser = Browser(devtools)
            await browser.attach()
            yield browser
            await browser.close()
        # Chromium ends its own child processes; some of them have left its process group.
        await later(process.communicate())
