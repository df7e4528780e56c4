"""The outbound network of a namespace, made by slirp4netns, which needs no privileges.

The program runs outside. It moves packets between a network device inside and ordinary sockets
outside, and ends when the holder does. Services on the machine's own loopback stay unreachable.
"""

import os
import select
import shutil
import subprocess
from typing import Final

from cmux_proxy.isolation.namespace import namespace_path, user_namespace_id

PROGRAM: Final = "slirp4netns"
# The address at which the program answers DNS queries, with the machine's own nameservers.
NAMESERVER: Final = "10.0.2.3"
_DEVICE: Final = "tap0"
_MTU: Final = 65520
_READY_TIMEOUT: Final = 10.0
_FAILED: Final = f"{PROGRAM} has failed"


def find_outbound_problem() -> str | None:
    """Return why this machine cannot provide an outbound network, or None."""
    return None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed"


class OutboundNetwork:
    """Pipes between a namespace holder and its parent process, which starts slirp4netns for it.

    Create it before the fork. The holder calls `request_start`, the parent calls `start_for`.
    """

    def __init__(self) -> None:
        self._namespace_read, self._namespace_write = os.pipe()
        self._ready_read, self._ready_write = os.pipe()
        # The holder never writes to this pipe; its end of file means that the holder has ended.
        self._exit_read, self._exit_write = os.pipe()

    def request_start(self) -> str | None:
        """Have the program started, now that the namespace exists; return why it does not run."""
        for descriptor in (self._namespace_read, self._ready_write, self._exit_read):
            os.close(descriptor)
        os.write(self._namespace_write, b"1")
        os.close(self._namespace_write)
        readable, _, _ = select.select([self._ready_read], [], [], _READY_TIMEOUT)
        is_ready = bool(readable) and os.read(self._ready_read, 1) != b""
        os.close(self._ready_read)
        return None if is_ready else _FAILED

    def start_for(self, holder: int, outer_user: int) -> None:
        """Start the program for a holder's namespace, as soon as the holder has created it.

        `outer_user` is the id of the user namespace outside.
        """
        for descriptor in (self._namespace_write, self._ready_read, self._exit_write):
            os.close(descriptor)
        if os.read(self._namespace_read, 1):
            self._start(holder, outer_user)

    def _start(self, holder: int, outer_user: int) -> None:
        is_root = user_namespace_id(holder) == outer_user
        user = [] if is_root else [f"--userns-path={namespace_path('user', holder)}"]
        subprocess.Popen(  # noqa: S603
            [
                PROGRAM, "--configure", f"--mtu={_MTU}", "--disable-host-loopback",
                f"--ready-fd={self._ready_write}", f"--exit-fd={self._exit_read}", *user,
                "--netns-type=path", namespace_path("net", holder), _DEVICE,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._ready_write, self._exit_read),
        )  # fmt: skip
