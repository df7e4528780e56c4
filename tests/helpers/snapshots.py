"""Snapshots of workers that have met what a test says, without sockets."""

from typing import Any

from cmux_proxy.observe.observer import Observer
from cmux_proxy.server.snapshot import snapshot
from tests.helpers.fakes import World
from tests.helpers.script import head

ROUTE = "X-Cmux-Port-Internal: 80"
GET = head("GET /a?secret=1 HTTP/1.1", "Host: a", ROUTE)
OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
CONNECT = head("CONNECT a:1 HTTP/1.1", "Host: a:1", ROUTE)


class Counted:
    """A worker whose exchanges are counted."""

    def __init__(self) -> None:
        self.observer = Observer(True)
        self.world = World(None, self.observer)
        self.world.peer = "192.0.2.7"

    def told(self, most: int = 0) -> dict[str, Any]:
        """Return its snapshot."""
        return snapshot(self.world.context, self.observer, most)
