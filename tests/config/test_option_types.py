"""Values of flags; `test_cli.py` has whole command lines."""

from typing import Any

import click
import pytest

from cmux_proxy.config.option_types import (
    CountType,
    DurationType,
    ListType,
    ModeType,
    ShortDurationType,
    SizeType,
    WorkerCountType,
    type_of,
)
from cmux_proxy.config.values import PortRange


def read(param_type: click.ParamType[Any], value: object) -> object:
    return param_type.convert(value, None, None)


@pytest.mark.parametrize(
    ("param_type", "text", "expected"),
    [
        (DurationType(), "15", 15.0),
        (DurationType(), " 15s ", 15.0),
        (DurationType(), "0", 0.0),
        (DurationType(), "0.25", 0.25),
        (DurationType(), "20us", pytest.approx(20e-6)),
        (DurationType(), "500ms", 0.5),
        (DurationType(), "2m", 120.0),
        (DurationType(), "1.5h", 5400.0),
        (DurationType(may_be_off=True), "off", None),
        (DurationType(may_be_off=True), "0", None),
        (DurationType(may_be_off=True), "0ms", None),
        (ShortDurationType(0.01), "0", 0.0),
        (ShortDurationType(0.01), "1ms", 0.001),
        (SizeType(), "0", 0),
        (SizeType(), "1023", 1023),
        (SizeType(), "16k", 16384),
        (SizeType(), "16KiB", 16384),
        (SizeType(), " 2M ", 2097152),
        (SizeType(), "2mib", 2097152),
        (CountType(), "1", 1),
        (CountType(may_be_off=True), "off", None),
        (CountType(0), "0", 0),
        (WorkerCountType(), "7", 7),
        (ModeType(), "600", 0o600),
        (ModeType(), "0777", 0o777),
        (ListType("PORTS", PortRange.parse), "1, 2-3", ["1", "2-3"]),
    ],
)
def test_a_text_is_read(param_type: click.ParamType[Any], text: str, expected: object) -> None:
    assert read(param_type, text) == expected


@pytest.mark.parametrize("param_type", [DurationType(), ShortDurationType(0.01)])
def test_a_default_is_returned_unchanged(param_type: click.ParamType[Any]) -> None:
    assert read(param_type, 0.005) == 0.005


@pytest.mark.parametrize(
    ("param_type", "text"),
    [
        *[
            (DurationType(), text)
            for text in ["", "off", "-1", "1e3", "1 s", "1sec", ".5", "1.", "1d"]
        ],
        (DurationType(may_be_off=True), "never"),
        *[(ShortDurationType(0.01), text) for text in ["", "off", "0m", "0h", "1", "11ms"]],
        *[(SizeType(), text) for text in ["", "k", "1.5k", "1g", "1kb", "-1", "1 k", "0x1", "1_0"]],
        *[(CountType(), text) for text in ["", "0", "off", "-1", "1.0", "1k", "\u0661", "9" * 20]],
        *[(ModeType(), text) for text in ["", "7", "00", "1777", "0o600", "688", "\u0666" * 3]],
        *[(ListType("PORTS", PortRange.parse), text) for text in ["", "1,", ",1", "1,,2", "x"]],
    ],
)
def test_other_texts_are_usage_errors(param_type: click.ParamType[Any], text: str) -> None:
    with pytest.raises(click.UsageError):
        read(param_type, text)


def test_a_value_without_a_type_names_where_to_add_one() -> None:
    class Unknown:
        def read(self, name: str, value: object) -> object:
            raise NotImplementedError

    with pytest.raises(TypeError, match=r"type_of has no type for .*: add a case"):
        type_of(Unknown())
