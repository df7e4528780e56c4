"""One line that is overwritten; test_forward.py has it on a terminal."""

import pytest

from cmux_proxy.commands import status_line
from cmux_proxy.commands.status_line import StatusLine


def test_without_a_terminal_it_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    line = StatusLine()
    line.update("1 open")
    line.print_above("out")
    line.warn_above("bad")
    line.end()
    assert capsys.readouterr() == ("out\n", "bad\n")


def test_on_a_terminal_it_is_erased_and_shown_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(status_line, "terminal_width", lambda: 7)
    monkeypatch.setenv("TERM", "xterm")
    line = StatusLine()
    line.end()
    line.print_above("out")
    line.update("1 open, 2 done")
    line.warn_above("bad")
    line.end()
    assert capsys.readouterr() == ("out\n", "\r\x1b[K\r\x1b[K1 open\r\x1b[Kbad\n\r\x1b[K1 open\n")


def test_an_unknown_width_is_80() -> None:
    assert status_line.terminal_width() == 80
