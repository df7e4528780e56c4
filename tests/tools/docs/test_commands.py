"""Flags and subcommands in docs/reference/cli.md: generated from the code."""

from pathlib import Path

import pytest

from cmux_proxy import cli
from cmux_proxy.config.options import GROUPS
from tools.docs import commands
from tools.docs.commands import PAGE, cli_page


def test_the_page_is_generated_from_the_code() -> None:
    assert cli_page() == PAGE.read_text("utf-8"), "`make pages` writes it"


@pytest.mark.parametrize("name", sorted(cli.proxy_command.commands))
def test_every_subcommand_has_a_section_with_its_flags(name: str) -> None:
    section = cli_page().partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    assert f"cmux-proxy {name} [OPTIONS]" in section
    for option in cli.proxy_command.commands[name].params:
        if option.param_type_name == "option":
            assert f"| `{option.opts[0]}" in section


def test_a_group_without_a_place_in_the_page_is_named_with_the_lines_to_add(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "cli.md"
    page.write_text("# Command line\n")
    monkeypatch.setattr(commands, "PAGE", page)
    with pytest.raises(LookupError) as caught:
        cli_page()
    title = next(iter(GROUPS))
    assert str(caught.value) == (
        f"docs/reference/cli.md needs these two lines where flags, {title} belongs:\n"
        f"<!-- flags, {title}: begin; made by `make pages` -->\n<!-- flags, {title}: end -->\n"
    )
