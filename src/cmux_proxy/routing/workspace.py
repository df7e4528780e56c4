"""X-Cmux-Workspace-Internal -> the loopback address, or the host name, of a workspace.

Every workspace has an address in 127.18.0.0/16, so that servers of different workspaces can use the
same port. Does not know which workspaces exist.
"""

import re
from typing import Final

from cmux_proxy.config.host_names import DNS_LABEL
from cmux_proxy.config.values import WORKSPACE, check_machine

WORKSPACE_FIELD: Final = "X-Cmux-Workspace-Internal"
# How the addresses of all workspaces begin.
WORKSPACE_NETWORK: Final = "127.18."

_DIGITS: Final = "0123456789"
# The limit of file names, because a workspace is usually a directory.
_MAX_LABEL: Final = 255
_MAX_NUMBER: Final = 0xFFFF
_ADDRESS: Final = re.compile(re.escape(WORKSPACE_NETWORK) + r"([0-9]{1,3})\.([0-9]{1,3})", re.ASCII)
# The 32-bit FNV-1a hash.
_OFFSET: Final = 0x811C9DC5
_PRIME: Final = 0x01000193


def workspace_label(name: str) -> str:
    """Return the last component of a workspace's path, in lower case.

    Raises ValueError, with one clause, if it is empty, longer than 255 bytes, or has other than
    printable ASCII characters.
    """
    label = name.rpartition("/")[2]
    if not label:
        raise ValueError("is empty")
    if len(label) > _MAX_LABEL:
        raise ValueError(f"has more than {_MAX_LABEL} bytes")
    if not label.isascii() or not label.isprintable():
        raise ValueError("has characters that are not printable ASCII")
    return label.lower()


def workspace_ip(name: str) -> str:
    """Return the address of a workspace: from the number at the end of its name, or from a hash.

    "workspace-1" has 127.18.0.1, "workspace-256" has 127.18.1.0. Of a path, the last component is
    used. Raises ValueError, with one clause, for an invalid name or a number above 65535.
    """
    label = workspace_label(name)
    # A pattern for the digits at the end would start again at each digit of the label.
    digits = label[len(label.rstrip(_DIGITS)) :]
    number = _read_number(digits) if digits else _hash(label) & _MAX_NUMBER
    return f"{WORKSPACE_NETWORK}{number >> 8}.{number & 0xFF}"


def workspace_number(address: str) -> int | None:
    """Return the number of the workspaces with this address, or None if none can have it."""
    match = _ADDRESS.fullmatch(address)
    return None if match is None else int(match[1]) << 8 | int(match[2])


def _read_number(digits: str) -> int:
    # A larger number modulo 65536 would give two workspaces the same address.
    significant = digits.lstrip("0") or "0"
    if len(significant) > len(str(_MAX_NUMBER)) or int(significant) > _MAX_NUMBER:
        raise ValueError(f"ends with a number above {_MAX_NUMBER}")
    return int(significant)


def _hash(label: str) -> int:
    value = _OFFSET
    for byte in label.encode("ascii"):
        value = (value ^ byte) * _PRIME & 0xFFFFFFFF
    return value


class WorkspaceHosts:
    """The hosts of workspaces: loopback addresses, or names made by a template."""

    def __init__(self, template: str | None) -> None:
        self._template = template

    def host_of(self, name: str) -> str:
        """Return the host of a workspace; raise ValueError, with one clause, if it has none."""
        if self._template is None:
            return workspace_ip(name)
        host = self._template.replace(WORKSPACE, _dns_label(workspace_label(name)))
        # With any template, a request selects one of several machines, and never an IP address.
        check_machine(host)
        return host


def _dns_label(label: str) -> str:
    if DNS_LABEL.fullmatch(label) is None:
        raise ValueError("is not a name that DNS can have: letters, digits and inner dashes")
    return label
