"""The section of a configuration about how upstreams are spoken to.

Does not read the file that it names: `net/tls_client.py` does. Neighbour: `sections.py` has the
other sections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from cmux_proxy.config.setting import option, read_settings
from cmux_proxy.config.validators import Entries, FileName
from cmux_proxy.config.values import PortRange

_upstream: Final = partial(option, group="Upstreams")


# fmt: off
@dataclass(frozen=True, slots=True)
class Upstreams:
    """Which ports of upstreams speak TLS or HTTP/2, and whose certificates they have."""

    https_ports: Sequence[str] = _upstream((), Entries("PORTS", PortRange.parse), "https-port",
        "Ports that are spoken to with TLS, such as 5173,8443-8445, also without X-Cmux-Scheme; "
        "repeatable.", default_text="none", example=[5173])
    h2c_ports: Sequence[str] = _upstream((), Entries("PORTS", PortRange.parse), "h2c-port",
        "Ports that are spoken to in HTTP/2, such as 50051,50060-50069, also without gRPC or "
        "X-Cmux-Protocol; repeatable.", default_text="none", example=[50051])
    ca: str | None = _upstream(None, FileName(), "upstream-ca",
        "PEM file with authorities: every upstream with TLS must have a certificate of one of "
        "them.", default_text="the system's; on loopback addresses any certificate",
        example="/etc/cmux-proxy/upstreams.pem")

    def __post_init__(self) -> None:
        read_settings(self, "upstreams.")
# fmt: on
