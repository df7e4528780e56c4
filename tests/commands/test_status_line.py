"""One line that is written over; on a terminal it is in test_forward.py."""

import pytest

from cmux_proxy.commands import status_line
from cmux_proxy.commands.status_line import StatusLine


def test_where_nobody_looks_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    line = StatusLine()
    line.show("1 open")
    line.say("out")
    line.warn("bad")
    line.leave()
    assert capsys.readouterr() == ("out\n", "bad\n")


def test_on_a_terminal_it_gives_way_and_comes_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(status_line, "_width", lambda: 7)
    monkeypatch.setenv("TERM", "xterm")
    line = StatusLine()
    line.leave()
    line.say("out")
    line.show("1 open, 2 done")
    line.warn("bad")
    line.leave()
    assert capsys.readouterr() == ("out\n", "\r\x1b[K\r\x1b[K1 open\r\x1b[Kbad\n\r\x1b[K1 open\n")


def test_a_width_that_is_not_told_is_the_usual_one() -> None:
    assert status_line._width() == 80
