"""Target: where a request goes, and whether its Host has said so."""

from typing import NamedTuple

from mypy_extensions import mypyc_attr


class Target(NamedTuple):
    """An upstream's host (a name or an IP address without brackets) and port."""

    host: str
    port: int

    def authority(self) -> str:
        """Return the target as it stands in a Host field (RFC 9110 section 7.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


# No compiled class can have a tuple for its base.
@mypyc_attr(native_class=False)
class HostTarget(Target):
    """A target that the Host of the request names.

    It equals the Target with the same host and port. Host travels on, so that a proxy behind this
    one may send the request back: such requests carry a hop count.
    """

    __slots__ = ()
