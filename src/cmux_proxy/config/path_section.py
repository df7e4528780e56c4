"""The section of a configuration about the paths of the proxy itself, on its public port.

Neighbour: `sections.py` has the other sections.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

from cmux_proxy.config.setting import option, read_settings
from cmux_proxy.config.validators import Switch, Text
from cmux_proxy.config.values import url_path

_path: Final = partial(option, group="Paths")


# fmt: off
@dataclass(frozen=True, slots=True)
class Paths:
    """The paths that the proxy itself serves, where a request names no port."""

    health_path: str | None = _path(None, Text("PATH", url_path), "health-path",
        "Path that says whether the proxy takes new connections, in addition to /.cmux/health.",
        default_text="none", example="/healthz")
    no_cmux_paths: bool = _path(False, Switch(), "no-cmux-paths",
        "Serve no path below /.cmux/: neither /.cmux/health nor tunnels at /.cmux/tcp/PORT.")

    def __post_init__(self) -> None:
        read_settings(self, "paths.")
# fmt: on
