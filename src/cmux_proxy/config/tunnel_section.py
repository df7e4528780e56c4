"""The section of a configuration about tunnels inside WebSockets.

Neighbour: `sections.py` has the other sections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from cmux_proxy.config.setting import option, read_settings
from cmux_proxy.config.validators import Entries
from cmux_proxy.config.values import web_origin

_tunnel: Final = partial(option, group="Tunnels")


# fmt: off
@dataclass(frozen=True, slots=True)
class Tunnels:
    """Who may ask for a tunnel inside a WebSocket."""

    origins: Sequence[str] = _tunnel((), Entries("ORIGIN", web_origin), "tunnel-origin",
        "Origin of a web page that may open tunnels inside WebSockets, such as "
        "https://vnc.example; all others get 403; repeatable.", default_text="none",
        example=["https://vnc.example"])

    def __post_init__(self) -> None:
        read_settings(self, "tunnels.")
# fmt: on
