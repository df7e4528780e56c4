"""The way out of a namespace: slirp4netns, which needs no rights and leaves the machine as it is.

It runs outside, moves packets between a device inside and ordinary sockets outside, and ends when
the keeper does. What listens on the machine's own loopback stays out of reach.
"""

import os
import select
import shutil
import subprocess
from typing import Final

PROGRAM: Final = "slirp4netns"
# Where the program answers DNS questions, with the machine's own nameservers.
NAMESERVER: Final = "10.0.2.3"
_DEVICE: Final = "tap0"
_LARGEST_PACKET: Final = 65520
_READY_WITHIN: Final = 10.0
_FAILED: Final = f"{PROGRAM} has failed"


def missing() -> str | None:
    """Return why there is no way out here, or None."""
    return None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed"


class Exits:
    """What a keeper and the process that starts the program for it tell each other.

    Made before the two part; `wait` is for the keeper, `open_for` for the other.
    """

    def __init__(self) -> None:
        self._made, self._says_made = os.pipe()
        self._ready, self._says_ready = os.pipe()
        # The keeper writes nothing into this one: that it is open tells that the keeper lives.
        self._lives, self._keeper_end = os.pipe()

    def wait(self) -> str | None:
        """Have the program started, now that the namespace is made; return why it does not run."""
        for descriptor in (self._made, self._says_ready, self._lives):
            os.close(descriptor)
        os.write(self._says_made, b"1")
        os.close(self._says_made)
        readable, _, _ = select.select([self._ready], [], [], _READY_WITHIN)
        is_ready = bool(readable) and os.read(self._ready, 1) != b""
        os.close(self._ready)
        return None if is_ready else _FAILED

    def open_for(self, keeper: int, outer_user: int) -> None:
        """Start the program for the namespace of a keeper, once that is made."""
        for descriptor in (self._says_made, self._ready, self._keeper_end):
            os.close(descriptor)
        if os.read(self._made, 1):
            self._start(keeper, outer_user)

    def _start(self, keeper: int, outer_user: int) -> None:
        spaces = f"/proc/{keeper}/ns"
        is_root = os.stat(f"{spaces}/user").st_ino == outer_user
        user = [] if is_root else [f"--userns-path={spaces}/user"]
        subprocess.Popen(  # noqa: S603
            [
                PROGRAM, "--configure", f"--mtu={_LARGEST_PACKET}", "--disable-host-loopback",
                f"--ready-fd={self._says_ready}", f"--exit-fd={self._lives}", *user,
                "--netns-type=path", f"{spaces}/net", _DEVICE,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._says_ready, self._lives),
        )  # fmt: skip
