"""System calls of a process that fail when a test wants it: a library that is loaded before libc.

A limit of the whole system, such as that of open files, would hit other programs as well.
"""

import os
import subprocess
import time
from pathlib import Path
from typing import Final

from tests.helpers.timing import LATER
from tests.helpers.tools import tool

# A call fails as long as a file has its name, with the number that is in the file; "NAME.failed"
# has a byte for each time.
_SOURCE: Final = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int fails(const char *name)
{
    char path[4096], text[16] = "";
    snprintf(path, sizeof path, "%s/%s", getenv("FAILING_CALLS"), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int size = read(fd, text, sizeof text - 1);
    close(fd);
    snprintf(path, sizeof path, "%s/%s.failed", getenv("FAILING_CALLS"), name);
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    size += write(fd, "x", 1);
    close(fd);
    errno = atoi(text);
    return size > 0;
}

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    int (*next)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
    return fails("accept4") ? -1 : next(fd, address, size, flags);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    int (*next)(int, int, int, struct epoll_event *) = dlsym(RTLD_NEXT, "epoll_ctl");
    if (operation == EPOLL_CTL_ADD && fails("epoll_ctl"))
        return -1;
    return next(epoll, operation, fd, event);
}
"""


class FailingCalls:
    """accept4 and EPOLL_CTL_ADD in a process that is started with these `variables`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        source, library = folder / "calls.c", folder / "calls.so"
        source.write_text(_SOURCE)
        subprocess.run(
            [tool("cc"), "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True
        )
        self.variables: Final = {"LD_PRELOAD": str(library), "FAILING_CALLS": str(folder)}

    def fail(self, name: str, error: int) -> None:
        """Let a call fail from now on."""
        new = self._folder / "new"
        new.write_text(str(error))
        new.rename(self._folder / name)

    def work(self, name: str) -> None:
        """Let a call do its work again."""
        (self._folder / name).unlink()

    def await_failure(self, name: str) -> None:
        """Wait until a call has failed."""
        end = time.monotonic() + LATER
        while not (self._folder / f"{name}.failed").exists():
            assert time.monotonic() < end, f"{name} has not failed"
            os.sched_yield()
