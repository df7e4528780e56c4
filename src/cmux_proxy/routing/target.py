"""Target: where a request goes."""

from typing import NamedTuple


class Target(NamedTuple):
    """An upstream's host (a name or an IP address without brackets) and port."""

    host: str
    port: int

    def authority(self) -> str:
        """Return the target as it stands in a Host field (RFC 9110 section 7.2)."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
