"""Chromium without a window, driven over the DevTools protocol: pages are opened, and tell things.

A page tells something by calling `tell(text)`. The browser talks to nobody but the loopback: only
names below .localhost, and the ones it is given, have an address.
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
from tests.helpers.tools import program, says, tool

_FLAGS: Final = (
    "--headless",
    "--no-sandbox",  # root has none, and all pages are ours
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

    `sockets` are the addresses of its WebSockets, `complaints` is what it says to developers.
    """

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._session: dict[str, str] = {}
        self._asked = 0
        self._events: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self.sockets: list[str] = []
        self.complaints: list[str] = []

    async def attach(self) -> None:
        """Make the page."""
        page = await self._ask("Target.createTarget", url="about:blank")
        session = await self._ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = {"sessionId": session["sessionId"]}
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self._ask(f"{domain}.enable")
        await self._ask("Runtime.addBinding", name="tell")

    async def open(self, url: str) -> int:
        """Open a page, with all that it loads; return its status."""
        self._events.clear()
        page = await self._ask("Page.navigate", url=url)
        assert "errorText" not in page, f"{url}: {page['errorText']}"
        await self._event("Page.loadEventFired")
        while True:
            event = await self._event("Network.responseReceived")
            # Something that the page before has asked for may still come.
            if event["type"] == "Document" and event["loaderId"] == page["loaderId"]:
                return int(event["response"]["status"])

    async def follow(self, selector: str) -> None:
        """Click on the link that a selector finds, and wait for the page behind it."""
        self._events.clear()
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
        await self._event("Page.loadEventFired")

    async def told(self) -> str:
        """Return the next thing that a page tells."""
        return str((await self._event("Runtime.bindingCalled"))["payload"])

    async def hears(self) -> str:
        """Return the next message that one of the page's WebSockets gets."""
        return str((await self._event("Network.webSocketFrameReceived"))["response"]["payloadData"])

    async def evaluate(self, expression: str) -> Any:
        """Return what an expression is in the page; waits for a promise."""
        done = await self._ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    async def becomes(self, expression: str) -> Any:
        """Wait until an expression is true in the page, and return what it is then."""
        look = (
            "new Promise((done) => { const look = () => { "
            f"const found = ({expression}); "
            "if (found) done(found); else setTimeout(look, 20); }; look(); })"
        )
        try:
            async with asyncio.timeout(LATER):
                return await self.evaluate(look)
        except TimeoutError:
            raise AssertionError(f"never: {expression}; {self.complaints}") from None

    async def looks(self, scheme: str, width: int, height: int, *features: str) -> None:
        """Have a colour scheme, a size in CSS pixels, and other media features: "name: value"."""
        told = [f"prefers-color-scheme: {scheme}", *features]
        pairs = [feature.split(": ") for feature in told]
        media = [{"name": name, "value": value} for name, value in pairs]
        await self._ask("Emulation.setEmulatedMedia", features=media)
        await self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    async def show_all(self) -> None:
        """Have no scroll bars, for pictures."""
        await self._ask("Emulation.setScrollbarsHidden", hidden=True)

    async def press(self, key: str) -> None:
        """Press a key that has a name, such as Tab."""
        for kind in ("keyDown", "keyUp"):
            code = _KEYS.get(key, 0)
            await self._ask(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code
            )

    async def picture(self) -> bytes:
        """Return what is seen, as PNG."""
        shot = await self._ask("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])

    async def spoken(self) -> list[tuple[str, str]]:
        """Return role and name of all that a screen reader finds, in its order."""
        tree = await self._ask("Accessibility.getFullAXTree")
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree["nodes"]
            if not node["ignored"]
        ]

    async def close(self) -> None:
        """Have it end."""
        self._session = {}
        await self._ask("Browser.close")

    async def _event(self, name: str) -> dict[str, Any]:
        """Return the next event of that name."""
        try:
            async with asyncio.timeout(LATER):
                while not self._events[name]:
                    await self._receive()
                return self._events[name].popleft()
        except TimeoutError:
            raise AssertionError(f"no {name}; {self.sockets} {self.complaints}") from None

    async def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._asked += 1
        question = {"id": self._asked, "method": method, "params": parameters, **self._session}
        await self._devtools.send(json.dumps(question))
        while (answer := await later(self._receive())).get("id") != self._asked:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._devtools.recv())
        name, parameters = message.get("method", ""), message.get("params", {})
        if name == "Network.webSocketCreated":
            self.sockets.append(parameters["url"])
        elif name == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif name == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        if name:
            self._events[name].append(parameters)
        return message


@contextlib.asynccontextmanager
async def chromium(folder: Path, *names: str) -> AsyncIterator[Browser]:
    """Run a Chromium that keeps everything in that folder; the names are 127.0.0.1 to it."""
    rules = [f"MAP {name} 127.0.0.1" for name in names]
    rules += ["MAP * ~NOTFOUND", "EXCLUDE *.localhost"]
    command = [tool("chromium"), *_FLAGS, f"--host-resolver-rules={', '.join(rules)}"]
    command += [f"--user-data-dir={folder / 'chromium'}"]
    async with program(*command, folder=folder, variables={"HOME": str(folder)}) as process:
        url = await says(process, "DevTools listening on ([^ \n]+)")
        async with connect(url, proxy=None, max_size=None, compression=None) as devtools:
            browser = Browser(devtools)
            await browser.attach()
            yield browser
            await browser.close()
        # Its own end takes its processes along; some have left its process group.
        await later(process.communicate())
