"""How tunnels to a proxy are opened: by CONNECT, or inside WebSockets where an edge refuses that.

What has worked is tried first, by the next programs too, for a day. Neighbours: `open_tunnel.py`
opens one tunnel in a given way.
"""

import contextlib
import json
import os
import time
from typing import Final, Literal, get_args

from cmux_proxy.client.open_tunnel import Tunnel, TunnelError, open_tunnel
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.client.tunnel_request import TunnelRequest
from cmux_proxy.config.state_directory import find_state_directory, write_private_file

Via = Literal["auto", "connect", "websocket"]
VIAS: Final = get_args(Via)

# Seconds for which it is remembered that an edge refuses CONNECT.
_MEMORY: Final = 86400.0
_FILE: Final = "websocket-proxies.json"


class TunnelOpener:
    """Opens tunnels to the ports behind one proxy; `directory` is that of the user's state."""

    def __init__(self, url: ProxyUrl, via: Via, timeout: float, directory: str | None) -> None:
        self._url = url
        self._via = via
        self._timeout = timeout
        self._memory = WebSocketMemory(directory)
        self._is_websocket = via == "websocket" or (via == "auto" and self._memory.has(str(url)))

    @classmethod
    def of_user(cls, url: ProxyUrl, via: Via, timeout: float) -> "TunnelOpener":
        """Return one that remembers for this user."""
        return cls(url, via, timeout, find_state_directory())

    async def open(self, request: TunnelRequest) -> Tunnel:
        """Return a tunnel; raise TunnelError, or TunnelTimeout for each way."""
        is_websocket = self._is_websocket
        try:
            return await open_tunnel(self._url, request, self._timeout, is_websocket)
        except TunnelError as error:
            if self._via != "auto" or not error.is_of_edge:
                raise
            refusal = error
        return await self._open_otherwise(request, not is_websocket, refusal)

    async def _open_otherwise(
        self, request: TunnelRequest, is_websocket: bool, refusal: TunnelError
    ) -> Tunnel:
        """Try the other way, and remember it if it works."""
        try:
            tunnel = await open_tunnel(self._url, request, self._timeout, is_websocket)
        except TunnelError as error:
            if error.is_of_edge:
                raise refusal from None
            raise
        self._is_websocket = is_websocket
        self._memory.remember(str(self._url), is_websocket)
        return tunnel


class WebSocketMemory:
    """The proxies that CONNECT does not reach, in a file; where it cannot be used, there are none.

    `directory` is None for a user who has none.
    """

    def __init__(self, directory: str | None) -> None:
        self._directory = directory

    def has(self, url: str) -> bool:
        """Return whether it was found within the last day that a proxy needs a WebSocket."""
        return url in self._read()

    def remember(self, url: str, is_websocket: bool) -> None:
        """Note what has worked."""
        times = self._read()
        if is_websocket:
            times[url] = time.time()
        elif times.pop(url, None) is None:
            return
        # Another program may need it; it finds out for itself.
        with contextlib.suppress(OSError):
            self._write(times)

    def _read(self) -> dict[str, float]:
        if self._directory is None:
            return {}
        try:
            with open(os.path.join(self._directory, _FILE), encoding="utf-8") as file:
                times = json.load(file)
        except (OSError, ValueError):
            return {}
        if not isinstance(times, dict):
            return {}
        now = time.time()
        return {
            url: at
            for url, at in times.items()
            if isinstance(at, int | float) and now - _MEMORY < at <= now
        }

    def _write(self, times: dict[str, float]) -> None:
        if self._directory is None:
            return
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        path = write_private_file(self._directory, json.dumps(times).encode("ascii"))
        os.replace(path, os.path.join(self._directory, _FILE))
