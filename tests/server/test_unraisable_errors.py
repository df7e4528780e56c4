"""Which errors that nobody can catch are printed."""

import sys
from types import SimpleNamespace

import pytest

from cmux_proxy.server.unraisable_errors import hide_errors_of_peers

BAD_TEXT = UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal not in range(128)")


@pytest.mark.parametrize(
    ("error", "where", "is_printed"),
    [
        (BAD_TEXT, b"\xff.localhost", False),
        (BAD_TEXT, len, True),
        (ValueError("a bug"), b"\xff.localhost", True),
    ],
    ids=["a server name", "another text", "another error"],
)
def test_only_server_names_are_hidden(
    error: Exception,
    where: object,
    is_printed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed: list[object] = []
    monkeypatch.setattr(sys, "__unraisablehook__", printed.append)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    hide_errors_of_peers()
    sys.unraisablehook(SimpleNamespace(exc_value=error, object=where))
    assert bool(printed) == is_printed
