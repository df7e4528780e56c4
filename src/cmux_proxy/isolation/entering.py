"""Moves this process into a workspace: finds the workspace's holder process or starts one.

Does not know what the process does afterwards. The holder watches the process until it ends.
"""

import os
import socket
import subprocess
import sys
from typing import Final, NamedTuple

from cmux_proxy.isolation import outbound
from cmux_proxy.isolation.errors import IsolationError
from cmux_proxy.isolation.messages import escape_unprintable, receive, send
from cmux_proxy.isolation.namespace import enter, net_namespace_id, require_linux
from cmux_proxy.isolation.registry import Registry
from cmux_proxy.isolation.status import RESPONSE_TIMEOUT, read_statuses


class HolderOptions(NamedTuple):
    """The module that a holder runs, and how many seconds it may take.

    A new holder first creates a namespace and starts the outbound network, so `join_timeout` is
    longer than `status_timeout`.
    """

    module: str = "cmux_proxy.isolation.holder"
    join_timeout: float = 30.0
    status_timeout: float = RESPONSE_TIMEOUT


_DEFAULT_OPTIONS: Final = HolderOptions()


class EnterResult(NamedTuple):
    """What this process got when it entered a workspace.

    `outbound_problem` is why the workspace has no outbound network, if one was requested and this
    process is the first in the workspace. `has_started_outbound` is whether this process is the
    first and the workspace got an outbound network.
    """

    outbound_problem: str | None
    has_started_outbound: bool


def enter_workspace(
    name: str, address: str, with_outbound: bool, options: HolderOptions = _DEFAULT_OPTIONS
) -> EnterResult:
    """Move this process, which must have one thread, into the namespace of a workspace.

    Raises IsolationError.
    """
    require_linux()
    try:
        with Registry.open() as registry:
            _refuse_nesting(registry, address, options.status_timeout)
            with registry.lock():
                return _enter(registry, name, address, with_outbound, options)
    except TimeoutError:
        raise IsolationError(f"the namespace holder of {address} does not answer") from None
    except (EOFError, ConnectionError):
        raise IsolationError(f"the namespace holder of {address} has ended") from None
    except OSError as error:
        raise IsolationError(f"the workspace cannot be entered: {error}") from None


def _refuse_nesting(registry: Registry, address: str, timeout: float) -> None:
    current = net_namespace_id()
    for status in read_statuses(registry, timeout):
        if status.namespace == current and status.address != address:
            text = f"this is inside the workspace of {status.address}; workspaces do not nest"
            raise IsolationError(text)


def _enter(
    registry: Registry, name: str, address: str, with_outbound: bool, options: HolderOptions
) -> EnterResult:
    channel = registry.connect(address, options.join_timeout)
    if channel is not None:
        _join(channel, name)
        return EnterResult(None, False)
    problem = outbound.find_outbound_problem() if with_outbound else None
    launcher = _start_holder(registry, address, options.module, with_outbound and problem is None)
    try:
        channel = registry.connect(address, options.join_timeout)
        if channel is None:
            raise EOFError
        startup_problem = _join(channel, name)
    finally:
        # It forks the holder and exits, so that this process has no child that it does not expect.
        launcher.wait()
    problem = problem or startup_problem
    return EnterResult(problem, with_outbound and problem is None)


def _start_holder(
    registry: Registry, address: str, module: str, with_outbound: bool
) -> "subprocess.Popen[bytes]":
    """Start a holder as a separate program, which inherits nothing except its socket."""
    with registry.listen(address) as listener:
        mode = "outbound" if with_outbound else "loopback"
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", module, address, str(listener.fileno()), mode],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            env=_environment(),
        )


def _environment() -> dict[str, str]:
    """Return variables with which another Python finds this package, also in a single file."""
    archive = getattr(__spec__.loader, "archive", None)
    return {**os.environ, **({"PYTHONPATH": os.path.abspath(archive)} if archive else {})}


def _join(channel: socket.socket, name: str) -> str | None:
    """Enter the namespace; from then on the holder counts this process.

    Returns why there is no outbound network, or None.
    """
    with channel:
        pidfd = os.pidfd_open(os.getpid())
        try:
            send(channel, {"ask": "join", "name": name, "pid": os.getpid()}, [pidfd])
        finally:
            os.close(pidfd)
        response = receive(channel)
    try:
        if "error" in response.fields:
            raise IsolationError(escape_unprintable(response.fields["error"]))
        enter(response.descriptors)
    finally:
        response.close()
    problem = response.fields["note"]
    return None if problem is None else escape_unprintable(problem)
