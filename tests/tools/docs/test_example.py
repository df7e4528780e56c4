"""examples/cmux-proxy.toml: it works, has every flag, and shows the defaults."""

import re
import tomllib
from pathlib import Path

import pytest

from cmux_proxy import Config
from cmux_proxy.config.option_types import type_of
from cmux_proxy.config.options import FLAGS, Flag
from cmux_proxy.config.setting import Setting
from cmux_proxy.config.validators import Entries, Number, Text, Unit, Validator
from tests.test_cli import Ran, ran
from tools.docs import example as page
from tools.docs.example import example

__all__ = ["ran"]

FILE = Path(__file__).parent.parent.parent.parent / "examples" / "cmux-proxy.toml"
TEXT = FILE.read_text("utf-8")
EXAMPLES = [flag.name for flag in FLAGS if flag.setting.example is not None]
ENTRY = re.compile(r"^#(?=[a-z][a-z0-9-]* = )", re.MULTILINE)


def load(ran: Ran, folder: Path, text: str) -> Config:
    """Return what the command line makes of such a file."""
    path = folder / "cmux-proxy.toml"
    path.write_text(text, "utf-8")
    return ran.config("--config", str(path))


def test_the_example_is_generated_from_the_flags() -> None:
    assert example() == TEXT, "`make pages` writes it"


def test_the_example_changes_nothing_by_itself(ran: Ran) -> None:
    assert ran.config("--config", str(FILE)) == Config()


def test_the_example_has_every_flag_in_order() -> None:
    assert list(tomllib.loads(ENTRY.sub("", TEXT))) == [flag.name for flag in FLAGS]


def test_every_line_of_the_example_can_be_uncommented(ran: Ran, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n")
    text = ENTRY.sub("", TEXT).replace("/etc/cmux-proxy/tokens", str(tokens))
    config = load(ran, tmp_path, text)
    assert config.access.tokens == ("secret",)
    assert (config.access.deny_ports, config.limits.clients) == (("22",), 1000)


def test_entries_without_an_example_have_the_default(ran: Ran, tmp_path: Path) -> None:
    lines = [
        line for line in ENTRY.sub("", TEXT).splitlines()
        if line.partition(" = ")[0] not in EXAMPLES
    ]  # fmt: skip
    assert load(ran, tmp_path, "\n".join(lines)) == Config()


@pytest.mark.parametrize(
    ("default", "takes", "text"),
    [
        ((), Entries("PORTS", int), "none"),
        (None, Text("HOST", str), "off"),
        (None, Number(Unit.ITEMS, may_be_none=True), "many"),
    ],
)
def test_a_flag_whose_default_has_no_value_needs_an_example(
    default: object, takes: Validator, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(takes, "new-thing", "New.", "New", text, None)
    flag = Flag("limits.new_thing", setting, default, type_of(takes))
    monkeypatch.setattr(page, "GROUPS", {"New": [flag]})
    with pytest.raises(LookupError, match=r"--new-thing .* give its option\(\.\.\.\) an example"):
        example()
