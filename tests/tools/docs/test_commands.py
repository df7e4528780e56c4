"""The subcommands in docs/reference/cli.md: what the code says now."""

from pathlib import Path

import pytest

from cmux_proxy import cli
from tools.docs import commands
from tools.docs.commands import PAGE, cli_page


def test_the_page_is_what_the_code_says_now() -> None:
    assert cli_page() == PAGE.read_text("utf-8"), "`make pages` writes it anew"


@pytest.mark.parametrize("name", sorted(cli._command.commands))
def test_every_subcommand_has_a_section_with_its_flags(name: str) -> None:
    section = cli_page().partition(f"\n### {name}\n")[2].partition("\n### ")[0]
    assert f"cmux-proxy {name} [OPTIONS]" in section
    for option in cli._command.commands[name].params:
        if option.param_type_name == "option":
            assert f"| `{option.opts[0]}" in section


def test_a_page_that_has_lost_its_marks_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "cli.md"
    page.write_text("# Command line\n")
    monkeypatch.setattr(commands, "PAGE", page)
    with pytest.raises(LookupError, match=r"cli\.md has lost the marks"):
        cli_page()
