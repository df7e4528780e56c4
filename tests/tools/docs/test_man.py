"""cmux-proxy.1: generated from the code, complete, and without warnings of mandoc or groff."""

from pathlib import Path

import pytest

from cmux_proxy import __version__, cli
from cmux_proxy.config.options import FLAGS, Flag
from tests.helpers.tools import finish, tool
from tools.docs.man import man_page

PAGE = Path(__file__).parent.parent.parent.parent / "docs" / "cmux-proxy.1"
COMMANDS = cli.proxy_command.commands


async def shown(page: Path) -> str:
    """Return the page as a terminal shows it, with single blanks."""
    done = await finish(tool("mandoc"), "-Tascii", str(page))
    plain = done.out.decode("ascii")
    while "\b" in plain:
        before, _, behind = plain.partition("\b")
        plain = before[:-1] + behind
    return " ".join(plain.split())


def test_the_page_is_generated_from_the_code() -> None:
    assert man_page() == PAGE.read_text("utf-8"), "`make pages` writes it"


async def test_mandoc_warns_only_of_the_missing_date() -> None:
    done = await finish(tool("mandoc"), "-Tlint", "-Wall", str(PAGE))
    complaints = [line for line in done.out.decode().splitlines() if "missing date" not in line]
    assert complaints == []


async def test_groff_has_no_warnings() -> None:
    done = await finish(tool("groff"), "-man", "-ww", "-Tascii", str(PAGE))
    assert (done.status, done.errors) == (0, b"")


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_every_flag_is_there_with_its_variable(flag: Flag) -> None:
    text = man_page().replace("\\-", "-").partition(".SH COMMANDS")[0]
    assert text.count(f".TP\n\\fB--{flag.name}\\fR") == 1
    assert f"Variable: {flag.variable}." in " ".join(text.split())


async def test_every_command_is_there_with_its_flags() -> None:
    text = await shown(PAGE)
    assert f"cmux-proxy {__version__}" in text
    assert "--config FILE" in text
    _, _, commands = text.partition(" COMMANDS")
    for name in sorted(COMMANDS):
        _, found, commands = commands.partition(f" {name} [OPTIONS]")
        assert found, name
        for option in COMMANDS[name].params:
            if option.param_type_name == "option":
                assert option.opts[0] in commands


async def test_requests_of_roff_in_a_text_are_text(tmp_path: Path) -> None:
    path = tmp_path / "page.1"
    path.write_text(man_page([".SH is no heading", "'a\\fB", "a-b"]))
    assert ".SH is no heading 'a\\fB a-b OPTIONS" in await shown(path)


def test_a_release_has_its_date(tmp_path: Path) -> None:
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(f"## [Unreleased]\n\n## [{__version__}] - 2031-02-03\n")
    assert '.TH CMUX\\-PROXY 1 "2031-02-03" "cmux\\-proxy' in man_page(changelog=changelog)
