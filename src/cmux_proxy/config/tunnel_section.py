"""The section of a configuration about tunnels.

Neighbour: `sections.py` has the other sections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from cmux_proxy.config.setting import option, read_settings
from cmux_proxy.config.validators import Entries, Switch
from cmux_proxy.config.values import web_origin

_tunnel: Final = partial(option, group="Tunnels")


# fmt: off
@dataclass(frozen=True, slots=True)
class Tunnels:
    """Who may ask for a tunnel inside a WebSocket, and how a CONNECT may name its port."""

    origins: Sequence[str] = _tunnel((), Entries("ORIGIN", web_origin), "tunnel-origin",
        "Origin of a web page that may open tunnels inside WebSockets, such as "
        "https://vnc.example; all others get 403; repeatable.", default_text="none",
        example=["https://vnc.example"])
    connect_by_authority: bool = _tunnel(False, Switch(), "connect-by-authority",
        "Let a CONNECT without the port field reach the port of its target, such as "
        "localhost:5432; other hosts than localhost and loopback addresses get 403.")

    def __post_init__(self) -> None:
        read_settings(self, "tunnels.")
# fmt: on
