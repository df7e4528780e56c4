"""examples/cmux-proxy.toml: a file that works, has every flag, and shows the defaults."""

import re
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest

from cmux_proxy import Config
from cmux_proxy.config.option_types import Count
from cmux_proxy.config.options import FLAGS, Flag
from tests.test_cli import Ran, ran
from tools.docs import example as page
from tools.docs.example import example

__all__ = ["ran"]

FILE = Path(__file__).parent.parent.parent.parent / "examples" / "cmux-proxy.toml"
TEXT = FILE.read_text("utf-8")
ENTRY = re.compile(r"^#(?=[a-z][a-z0-9-]* = )", re.MULTILINE)


def load(ran: Ran, folder: Path, text: str) -> Config:
    """Return what the command line makes of such a file."""
    path = folder / "cmux-proxy.toml"
    path.write_text(text, "utf-8")
    return ran.config("--config", str(path))


def test_the_example_is_what_the_flags_say_now() -> None:
    assert example() == TEXT, "`make pages` writes it anew"


def test_the_example_changes_nothing_as_it_is(ran: Ran) -> None:
    assert ran.config("--config", str(FILE)) == Config()


def test_the_example_has_every_flag_in_order() -> None:
    assert list(tomllib.loads(ENTRY.sub("", TEXT))) == [flag.name for flag in FLAGS]


def test_every_line_of_the_example_can_be_taken_as_it_is(ran: Ran, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n")
    text = ENTRY.sub("", TEXT).replace("/etc/cmux-proxy/tokens", str(tokens))
    config = load(ran, tmp_path, text)
    assert config.access.tokens == ("secret",)
    assert (config.access.deny_ports, config.limits.clients) == (("22",), 1000)


def test_all_but_the_examples_are_the_defaults(ran: Ran, tmp_path: Path) -> None:
    lines = [
        line for line in ENTRY.sub("", TEXT).splitlines()
        if line.partition(" = ")[0] not in page._EXAMPLES
    ]  # fmt: skip
    assert load(ran, tmp_path, "\n".join(lines)) == Config()


@pytest.mark.parametrize(
    ("field", "kind", "shown"),
    [
        ("routing.host_suffixes", FLAGS[0].kind, "none"),
        ("upstream_host", click.STRING, "off"),
        ("limits.clients", Count(may_be_off=True), "many"),
    ],
)
def test_a_flag_without_a_default_needs_an_example(
    field: str, kind: click.ParamType[Any], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = Flag("new-thing", field, kind, "New.", shown)
    monkeypatch.setattr(page, "GROUPS", {"New": [new]})
    with pytest.raises(LookupError, match="an example for new-thing is missing"):
        example()
