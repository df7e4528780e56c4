"""Values of flags, as click asks for them; whole command lines are in `test_cli.py`."""

from collections.abc import Callable
from typing import Any

import click
import pytest

from cmux_proxy.config.option_types import BusyPoll, Count, Duration, List, Mode, Size, WorkerCount
from cmux_proxy.config.values import PortRange


def read(kind: click.ParamType[Any], value: object) -> object:
    return kind.convert(value, None, None)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Duration(), "15", 15.0),
        (Duration(), " 15s ", 15.0),
        (Duration(), "0", 0.0),
        (Duration(), "0.25", 0.25),
        (Duration(), "20us", pytest.approx(20e-6)),
        (Duration(), "500ms", 0.5),
        (Duration(), "2m", 120.0),
        (Duration(), "1.5h", 5400.0),
        (Duration(may_be_off=True), "off", None),
        (Duration(may_be_off=True), "0", None),
        (Duration(may_be_off=True), "0ms", None),
        (BusyPoll(), "0", 0.0),
        (BusyPoll(), "1ms", 0.001),
        (Size(), "0", 0),
        (Size(), "1023", 1023),
        (Size(), "16k", 16384),
        (Size(), "16KiB", 16384),
        (Size(), " 2M ", 2097152),
        (Size(), "2mib", 2097152),
        (Count(), "1", 1),
        (Count(may_be_off=True), "off", None),
        (WorkerCount(), "7", 7),
        (Mode(), "600", 0o600),
        (Mode(), "0777", 0o777),
        (List("PORTS", PortRange.parse), "1, 2-3", ["1", "2-3"]),
    ],
)
def test_a_text_is_read(kind: click.ParamType[Any], text: str, expected: object) -> None:
    assert read(kind, text) == expected


@pytest.mark.parametrize("kind", [Duration, BusyPoll])
def test_a_default_is_not_read_again(kind: Callable[[], click.ParamType[Any]]) -> None:
    assert read(kind(), 0.005) == 0.005


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *[(Duration(), text) for text in ["", "off", "-1", "1e3", "1 s", "1sec", ".5", "1.", "1d"]],
        (Duration(may_be_off=True), "never"),
        *[(BusyPoll(), text) for text in ["", "off", "0m", "0h", "1", "11ms"]],
        *[(Size(), text) for text in ["", "k", "1.5k", "1g", "1kb", "-1", "1 k", "0x1", "1_0"]],
        *[(Count(), text) for text in ["", "0", "off", "-1", "1.0", "1k", "\u0661", "9" * 20]],
        *[(Mode(), text) for text in ["", "7", "00", "1777", "0o600", "688", "\u0666" * 3]],
        *[(List("PORTS", PortRange.parse), text) for text in ["", "1,", ",1", "1,,2", "x"]],
    ],
)
def test_anything_else_is_a_usage_error(kind: click.ParamType[Any], text: str) -> None:
    with pytest.raises(click.UsageError):
        read(kind, text)
