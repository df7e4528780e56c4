"""Chromium without a window, driven over the DevTools protocol: pages are opened, and tell things.

A page tells something by calling `tell(text)`. The browser talks to nobody but the loopback: only
names below .localhost, and the ones it is given, have an address.
"""

import asyncio
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


class Browser:
    """A running Chromium with one page; `sockets` are the addresses of its WebSockets."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._session: dict[str, str] = {}
        self._asked = 0
        self._events: defaultdict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self.sockets: list[str] = []
        self._complaints: list[str] = []

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
            raise AssertionError(f"no {name}; {self.sockets} {self._complaints}") from None

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
            self._complaints.append(parameters["entry"]["text"])
        elif name == "Runtime.exceptionThrown":
            self._complaints.append(str(parameters["exceptionDetails"]))
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
