"""Network namespaces of Linux: makes one for this process, and enters that of another.

Knows the system calls and nothing of workspaces. Whoever may not make a network namespace makes a
user namespace first, in which it may: there its user and group keep their numbers.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final

from cmux_proxy.isolation.errors import IsolationError

# <linux/sched.h>
_NEW_USER: Final = 0x10000000
_NEW_NET: Final = 0x40000000
# <linux/sockios.h>, <linux/if.h>
_SET_FLAGS: Final = 0x8914
_UP_AND_RUNNING: Final = 0x41
_LOOPBACK: Final = b"lo"

_NET: Final = "/proc/self/ns/net"
_USER: Final = "/proc/self/ns/user"
_REMEDY: Final = (
    "run it as root, or allow user namespaces: sysctl user.max_user_namespaces above 0, on Ubuntu "
    "kernel.apparmor_restrict_unprivileged_userns=0; a container needs CAP_SYS_ADMIN"
)


def require_linux() -> None:
    """Raise IsolationError where there are no network namespaces."""
    if sys.platform != "linux":
        raise IsolationError(
            "isolated workspaces need Linux; elsewhere let servers listen on the address that "
            "`cmux-proxy workspace-ip NAME` prints"
        )
    if not os.path.exists(_NET):
        raise IsolationError("isolated workspaces need /proc, which is not mounted here")


def make_namespace() -> None:
    """Move this process into a network namespace of its own, whose loopback is up.

    The process must have one thread. Raises IsolationError where that is not permitted.
    """
    try:
        if not _make_as_root():
            _make_as_user(os.geteuid(), os.getegid())
        _raise_loopback()
    except OSError as error:
        text = f"no network namespace can be made: {os.strerror(error.errno or 0)}; {_REMEDY}"
        raise IsolationError(text) from None


def _make_as_root() -> bool:
    try:
        _call("unshare", _NEW_NET)
    except PermissionError:
        return False
    return True


def _make_as_user(user: int, group: int) -> None:
    _call("unshare", _NEW_USER | _NEW_NET)
    # user_namespaces(7): a group may be mapped only once groups cannot be dropped any more.
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"),
    ):  # fmt: skip
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SET_FLAGS, struct.pack("16sh22x", _LOOPBACK, _UP_AND_RUNNING))


def open_namespaces(outer_user: int) -> list[int]:
    """Return descriptors of this process's namespaces, in the order in which they are entered.

    That of the user is left out where it is `outer_user`, as `user_namespace` has told before.
    """
    paths = [_NET] if user_namespace() == outer_user else [_USER, _NET]
    return [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths]


def enter(namespaces: Sequence[int]) -> None:
    """Move this process, which must have one thread, into the namespaces of these descriptors."""
    if os.fstat(namespaces[-1]).st_ino == net_namespace():
        return
    try:
        for descriptor in namespaces:
            _call("setns", descriptor, 0)
    except OSError as error:
        text = f"the workspace cannot be entered: {os.strerror(error.errno or 0)}; {_REMEDY}"
        raise IsolationError(text) from None


def net_namespace() -> int:
    """Return the number of the network namespace in which this process is."""
    return os.stat(_NET).st_ino


def user_namespace() -> int:
    """Return the number of the user namespace in which this process is."""
    return os.stat(_USER).st_ino


def _call(name: str, *arguments: int) -> None:
    """Make a system call that the standard library has only since Python 3.12."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number))
