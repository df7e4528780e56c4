"""Writes the access log of one process, in a thread of its own: the event loop never waits for it.

Lines wait in a queue; where it is full, they are dropped, and that is told. A file is opened anew
on request, after somebody has moved it away.
"""

import contextlib
import logging
import queue
import sys
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Final

from cmux_proxy.errors import ConfigError
from cmux_proxy.observe.access_log import LOGGER, AccessFormatter
from cmux_proxy.settings import Observing

MOST_WAITING: Final = 10_000

_log = logging.getLogger("cmux_proxy")


class LogFile(logging.FileHandler):
    """A file that lines are appended to; raises OSError where it cannot be opened."""

    def reopen(self) -> None:
        """Open the path again, which may have become another file; else go on with the old one."""
        try:
            stream = self._open()
        except OSError as error:
            _log.warning("the access log cannot be opened anew: %s", error)
            return
        self.acquire()
        try:
            if self.stream is not None:
                self.stream.close()
            self.stream = stream
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Tell of a full disk in one line."""
        _log.warning("a line of the access log is lost: %s", sys.exc_info()[1])


class Queueing(QueueHandler):
    """Puts lines into the queue, or counts them where there is no room."""

    def __init__(self, waiting: "queue.Queue[Any]") -> None:
        super().__init__(waiting)
        self._dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leave it as it is: it is formatted where it is written."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never wait."""
        try:
            if self._dropped:
                self.queue.put_nowait(_of_dropped(self._dropped))
                self._dropped = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1


def _of_dropped(count: int) -> logging.LogRecord:
    text = "%d lines are missing here: the log was not written fast enough"
    return logging.LogRecord(LOGGER.name, logging.WARNING, "", 0, text, (count,), None)


def check_file(observing: Observing) -> None:
    """Raise ConfigError where the file cannot be written."""
    if observing.access_log_file is not None and observing.access_log != "off":
        _open(observing.access_log_file).close()


@contextlib.contextmanager
def access_log(observing: Observing) -> Iterator[LogFile | None]:
    """Write lines while the context lasts; give the file, where they go to one."""
    if observing.access_log == "off":
        yield None
        return
    path = observing.access_log_file
    file = None if path is None else _open(path)
    target = logging.StreamHandler(sys.stderr) if file is None else file
    target.setFormatter(AccessFormatter(observing.log_format))
    waiting: queue.Queue[Any] = queue.Queue(MOST_WAITING)
    listener = QueueListener(waiting, target)
    handler = Queueing(waiting)
    before = LOGGER.propagate, LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.propagate = False
    LOGGER.setLevel(logging.INFO)
    listener.start()
    try:
        yield file
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.propagate, level = before
        LOGGER.setLevel(level)
        listener.stop()
        target.close()


def _open(path: str) -> LogFile:
    try:
        return LogFile(path, encoding="ascii", errors="backslashreplace")
    except OSError as error:
        reason = f"{path} cannot be opened: {error.strerror}"
        raise ConfigError("observing.access_log_file", reason) from None
