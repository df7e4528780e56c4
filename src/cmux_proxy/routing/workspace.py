"""X-Cmux-Workspace-Internal -> the loopback address that is the workspace's own.

Every workspace has an address in 127.18.0.0/16, so that servers on the same port in different
workspaces do not meet.
"""

import re
from typing import Final

from cmux_proxy.config.values import WORKSPACE, check_machine

WORKSPACE_FIELD: Final = "X-Cmux-Workspace-Internal"


_DIGITS: Final = "0123456789"
# As many bytes as a file name has: a workspace is mostly a directory.
_MAX_LABEL: Final = 255
_MOST: Final = 0xFFFF
_OWN: Final = re.compile(r"127\.18\.([0-9]{1,3})\.([0-9]{1,3})", re.ASCII)
# RFC 1123 section 2.1
_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
# The 32-bit FNV-1a hash.
_OFFSET: Final = 0x811C9DC5
_PRIME: Final = 0x01000193


def workspace_label(name: str) -> str:
    """Return the last component of a workspace's path, in lower case.

    Raises ValueError, with one clause, where that is empty, longer than 255 bytes, or has bytes
    that no name has.
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
    """Return the address of a workspace, by the number that its name ends with, else by a hash.

    "workspace-1" has 127.18.0.1, "workspace-256" 127.18.1.0. Of a path, the last component counts.
    Raises ValueError, with one clause, for what is no name and for numbers above 65535.
    """
    label = workspace_label(name)
    # A pattern for the digits at the end would begin anew at each digit of the label.
    digits = label[len(label.rstrip(_DIGITS)) :]
    number = _small(digits) if digits else _hash(label) & _MOST
    return f"127.18.{number >> 8}.{number & 0xFF}"


def workspace_number(address: str) -> int | None:
    """Return the number of the workspaces that have this address, None if no workspace has."""
    match = _OWN.fullmatch(address)
    return None if match is None else int(match[1]) << 8 | int(match[2])


def _small(digits: str) -> int:
    # Wrapped around, two workspaces would share an address without anybody's asking for it.
    significant = digits.lstrip("0") or "0"
    if len(significant) > len(str(_MOST)) or int(significant) > _MOST:
        raise ValueError(f"ends with a number above {_MOST}")
    return int(significant)


def _hash(label: str) -> int:
    value = _OFFSET
    for byte in label.encode("ascii"):
        value = (value ^ byte) * _PRIME & 0xFFFFFFFF
    return value


class WorkspaceHosts:
    """The hosts of workspaces: loopback addresses, or the names that a template makes of them."""

    def __init__(self, template: str | None) -> None:
        self._template = template

    def host_of(self, name: str) -> str:
        """Return the host of a workspace; raise ValueError, with one clause, where it has none."""
        if self._template is None:
            return workspace_ip(name)
        host = self._template.replace(WORKSPACE, _dns_label(workspace_label(name)))
        # Whatever the template is, a request chooses among other machines, not among addresses.
        check_machine(host)
        return host


def _dns_label(label: str) -> str:
    if _DNS_LABEL.fullmatch(label) is None:
        raise ValueError("is not a name that DNS can have: letters, digits and inner dashes")
    return label
