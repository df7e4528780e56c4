"""The table of flags: whole, and true to Config; what each does is in `test_cli.py`."""

from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from cmux_proxy import Config
from cmux_proxy.config.options import FLAGS, GROUPS, Flag, default_of, flag_of, shown_default

CLI_PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "cli.md"
# What only whoever embeds the proxy may set.
WITHOUT_FLAG = {"access.token_file", "timeouts.linger"}


def settings_of(thing: object, prefix: str = "") -> set[str]:
    """Return the dotted names of all that can be set."""
    names = set()
    assert is_dataclass(thing)
    for one in fields(thing):
        value = getattr(thing, one.name)
        if is_dataclass(value):
            names |= settings_of(value, f"{one.name}.")
        else:
            names.add(prefix + one.name)
    return names


def test_everything_that_can_be_set_has_one_flag() -> None:
    named = [flag.field for flag in FLAGS]
    assert len(set(named)) == len(named)
    assert set(named) == settings_of(Config()) - WITHOUT_FLAG


def test_no_flag_is_there_twice() -> None:
    names = [flag.name for flag in FLAGS]
    assert len(set(names)) == len(names)
    assert sum(map(len, GROUPS.values())) == len(FLAGS)


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_a_flag_can_be_found_by_its_field(flag: Flag) -> None:
    assert flag_of(flag.field) is flag
    assert flag.variable == "CMUX_" + flag.parameter.upper()
    default_of(flag)


def test_what_only_an_embedder_sets_has_no_flag() -> None:
    assert flag_of("timeouts.linger") is None


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_every_flag_is_documented_with_its_variable_and_default(flag: Flag) -> None:
    of_proxy = CLI_PAGE.read_text("utf-8").partition("\n## Values\n")[0]
    rows = [line for line in of_proxy.splitlines() if line.startswith("| `--")]
    mine = [row for row in rows if row.startswith((f"| `--{flag.name} ", f"| `--{flag.name}`"))]
    assert len(mine) == 1
    cells = [cell.strip(" `") for cell in mine[0].replace("\\|", "/").split("|")]
    assert cells[2] == flag.variable
    assert cells[3].replace("`", "") == shown_default(flag)
