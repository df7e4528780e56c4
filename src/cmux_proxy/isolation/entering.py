"""Lets this process into a workspace: finds its keeper, or starts one, and asks it.

What becomes of the process afterwards is its own affair; the keeper watches it until it ends.
"""

import os
import socket
import subprocess
import sys
from typing import Final, NamedTuple

from cmux_proxy.isolation import outbound
from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.messages import printable, receive, send
from cmux_proxy.isolation.namespace import enter, net_namespace, require_linux
from cmux_proxy.isolation.registry import Registry
from cmux_proxy.isolation.status import statuses

_KEEPER: Final = "cmux_proxy.isolation.holder"
# A keeper answers at once, but for the first time, when it has a namespace to make.
_ANSWERS_WITHIN: Final = 30.0


class Entered(NamedTuple):
    """How a process has come into a workspace.

    `missing` is why there is no way out, where one is wanted and nobody has been in the workspace
    before; `gives_way_out` says that this process is the first one, and that there is one.
    """

    missing: str | None
    gives_way_out: bool


def enter_workspace(name: str, address: str, wants_outbound: bool) -> Entered:
    """Move this process, which must have one thread, into the namespace of a workspace.

    Raises IsolationError.
    """
    require_linux()
    try:
        with Registry.open() as registry:
            _refuse_nesting(registry, address)
            with registry.lock():
                return _enter(registry, name, address, wants_outbound)
    except TimeoutError:
        raise IsolationError(f"the keeper of {address} does not answer") from None
    except (EOFError, ConnectionError):
        raise IsolationError(f"the keeper of {address} has ended") from None
    except OSError as error:
        raise IsolationError(f"the workspace cannot be entered: {error}") from None


def _refuse_nesting(registry: Registry, address: str) -> None:
    here = net_namespace()
    for status in statuses(registry):
        if status.namespace == here and status.address != address:
            text = f"this is inside the workspace of {status.address}; workspaces do not nest"
            raise IsolationError(text)


def _enter(registry: Registry, name: str, address: str, wants_outbound: bool) -> Entered:
    channel = registry.connect(address, _ANSWERS_WITHIN)
    if channel is not None:
        _join(channel, name)
        return Entered(None, False)
    missing = outbound.missing() if wants_outbound else None
    starting = _start(registry, address, wants_outbound and missing is None)
    try:
        channel = registry.connect(address, _ANSWERS_WITHIN)
        if channel is None:
            raise EOFError
        note = _join(channel, name)
    finally:
        # It hands over to the keeper, which is nobody's child: the command has none.
        starting.wait()
    missing = missing or note
    return Entered(missing, wants_outbound and missing is None)


def _start(registry: Registry, address: str, wants_outbound: bool) -> "subprocess.Popen[bytes]":
    """Start a keeper as a program of its own, which has nothing of ours but the socket."""
    with registry.listen(address) as listener:
        mode = "outbound" if wants_outbound else "loopback"
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", _KEEPER, address, str(listener.fileno()), mode],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            env=_variables(),
        )


def _variables() -> dict[str, str]:
    """Return variables with which another Python finds this package in a single file too."""
    archive = getattr(__spec__.loader, "archive", None)
    return {**os.environ, **({"PYTHONPATH": os.path.abspath(archive)} if archive else {})}


def _join(channel: socket.socket, name: str) -> str | None:
    """Enter; from here on the keeper counts this process. Return why it has no way out."""
    with channel:
        pidfd = os.pidfd_open(os.getpid())
        try:
            send(channel, {"ask": "join", "name": name, "pid": os.getpid()}, [pidfd])
        finally:
            os.close(pidfd)
        answer = receive(channel)
    try:
        if "error" in answer.fields:
            raise IsolationError(printable(answer.fields["error"]))
        enter(answer.descriptors)
    finally:
        answer.close()
    note = answer.fields["note"]
    return None if note is None else printable(note)
