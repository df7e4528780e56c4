"""Network namespaces of Linux: creates one for this process, and enters one of another process.

Knows the system calls; does not know workspaces. A process that may not create a network namespace
creates a user namespace first, in which it may. Its user and group keep their ids there.
"""

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
    if not os.path.exists(namespace_path("net")):
        raise IsolationError("isolated workspaces need /proc, which is not mounted here")


def create_namespace() -> None:
    """Move this process into a new network namespace, whose loopback is up.

    The process must have one thread. Raises IsolationError where that is not permitted.
    """
    try:
        if not _create_as_root():
            _create_as_user(os.geteuid(), os.getegid())
        _bring_up_loopback()
    except OSError as error:
        text = f"no network namespace can be created: {os.strerror(error.errno or 0)}; {_REMEDY}"
        raise IsolationError(text) from None


def _create_as_root() -> bool:
    try:
        _call("unshare", _NEW_NET)
    except PermissionError:
        return False
    return True


def _create_as_user(user: int, group: int) -> None:
    _call("unshare", _NEW_USER | _NEW_NET)
    # user_namespaces(7): a group may be mapped only after setgroups(2) is denied.
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1"),
    ):  # fmt: skip
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SET_FLAGS, struct.pack("16sh22x", _LOOPBACK, _UP_AND_RUNNING))


def open_namespaces(outer_user: int) -> list[int]:
    """Return descriptors of this process's namespaces, in the order in which `enter` needs them.

    The user namespace is left out where its id is `outer_user`, that of the process to be moved.
    """
    types = ["net"] if user_namespace_id() == outer_user else ["user", "net"]
    return [os.open(namespace_path(name), os.O_RDONLY | os.O_CLOEXEC) for name in types]


def enter(namespaces: Sequence[int]) -> None:
    """Move this process, which must have one thread, into the namespaces of these descriptors.

    Raises IsolationError.
    """
    if os.fstat(namespaces[-1]).st_ino == net_namespace_id():
        return
    try:
        for descriptor in namespaces:
            _call("setns", descriptor, 0)
    except OSError as error:
        text = f"the workspace cannot be entered: {os.strerror(error.errno or 0)}; {_REMEDY}"
        raise IsolationError(text) from None


def net_namespace_id(pid: int | None = None) -> int:
    """Return the id of a process's network namespace, by default of this process's.

    Raises OSError where there is no such process.
    """
    return os.stat(namespace_path("net", pid)).st_ino


def user_namespace_id(pid: int | None = None) -> int:
    """Return the id of a process's user namespace; see `net_namespace_id`."""
    return os.stat(namespace_path("user", pid)).st_ino


def namespace_path(name: str, pid: int | None = None) -> str:
    """Return the path of a process's namespace of this type: `net` or `user`."""
    return f"/proc/{'self' if pid is None else pid}/ns/{name}"


def _call(name: str, *arguments: int) -> None:
    """Make a system call that the standard library only has since Python 3.12."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number))
