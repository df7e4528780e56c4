"""The rules that pick a target, asked in order.

An embedder who routes differently subclasses Router and overrides `route`.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.errors import RouteRefused
from cmux_proxy.routing.port_field import PORT_FIELD, parse_port
from cmux_proxy.routing.target import Target

# The family of fields that belong to routing: reported to the router, never sent upstream.
FAMILY_PREFIX: Final = b"x-cmux-"
FAMILY_SUFFIX: Final = b"-internal"

_PORT: Final = b"x-cmux-port-internal"
_REMEMBERED: Final = 4096


@mypyc_attr(allow_interpreted_subclasses=True)
class Router:
    """Routes by the port field, to one upstream host."""

    __slots__ = ("_host", "_targets")

    def __init__(self, upstream_host: str) -> None:
        self._host = upstream_host
        self._targets: dict[bytes, Target] = {}

    def route(
        self, method: bytes, host: bytes | None, fields: tuple[tuple[bytes, bytes], ...]
    ) -> Target:
        """Return the target of a request; raise RouteRefused when it has none.

        `host` is the Host value as received; `fields` are the routing fields, each a lower-case
        name and a value without surrounding white space.
        """
        value: bytes | None = None
        for name, field_value in fields:
            if name == _PORT:
                if value is not None:
                    raise RouteRefused(400, f"header given more than once: {PORT_FIELD}")
                value = field_value
        if value is None:
            raise RouteRefused(400, f"missing required header: {PORT_FIELD}")
        target = self._targets.get(value)
        if target is None:
            target = Target(self._host, parse_port(value))
            if len(self._targets) >= _REMEMBERED:
                self._targets.clear()
            self._targets[value] = target
        return target
