"""The table of flags: complete, equal to Config, and documented; `test_cli.py` has the effects."""

import re
import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from cmux_proxy import Config
from cmux_proxy.config.options import FLAGS, GROUPS, Flag, flag_of
from tests.helpers.timing import LATER
from tools.docs.commands import PAGE

# Only programs that embed the proxy set these. The command reads tokens from a file.
WITHOUT_FLAG = {"access.tokens", "timeouts.linger"}
# Words of a flag that its section makes superfluous.
WORDS_OF_SECTION = {
    "timeouts": "-timeout",
    "limits": "max-",
    "tls": "tls-",
    "upstreams": "upstream-",
    "tunnels": "tunnel-",
}


def settings_of(section: object, prefix: str = "") -> set[str]:
    """Return the dotted names of all fields that can be set."""
    names = set()
    assert is_dataclass(section)
    for field in fields(section):
        value = getattr(section, field.name)
        if is_dataclass(value):
            names |= settings_of(value, f"{field.name}.")
        else:
            names.add(prefix + field.name)
    return names


def test_everything_that_can_be_set_has_one_flag() -> None:
    named = [flag.field for flag in FLAGS]
    assert len(set(named)) == len(named)
    missing = settings_of(Config()) - WITHOUT_FLAG - set(named)
    assert not missing, (
        f"declare {missing} with option(..., flag=...) in config/sections.py or "
        "config/proxy_config.py, or add them to WITHOUT_FLAG above"
    )
    assert set(named) <= settings_of(Config()) - WITHOUT_FLAG


def test_every_flag_is_in_one_group() -> None:
    names = [flag.name for flag in FLAGS]
    assert len(set(names)) == len(names)
    assert [flag for flags in GROUPS.values() for flag in flags] == FLAGS, (
        "the fields of one group must follow each other in config/sections.py"
    )


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_a_field_has_the_name_of_its_flag(flag: Flag) -> None:
    section, _, field = flag.field.rpartition(".")
    name = flag.name
    # --max-wait is the maximum of a wait that requests choose; "max" is not superfluous there.
    if section and name != "max-wait":
        name = name.replace(WORDS_OF_SECTION.get(section, "-no-word"), "")
    singular = {"trusted_proxies": "trusted_proxy", "host_suffixes": "host_suffix"}
    expected = singular.get(field, field.removesuffix("s")) if flag.is_list else field
    # The section has the name of the flag already.
    expected = {"tls.source": "tls"}.get(flag.field, expected)
    assert name.replace("-", "_") == expected, (
        f"call the field {flag.field} like --{flag.name}, without words that its section has"
    )


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_a_flag_can_be_found_by_its_field(flag: Flag) -> None:
    assert flag_of(flag.field) is flag
    assert flag.variable == "CMUX_" + flag.parameter.upper()


def test_a_field_that_only_programs_set_has_no_flag() -> None:
    assert flag_of("timeouts.linger") is None


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_the_help_of_a_flag_is_a_sentence(flag: Flag) -> None:
    assert re.fullmatch(r"[A-Z].*\.", flag.help), f"rewrite the help of {flag.field}"
    assert flag.setting.group


@pytest.mark.parametrize("flag", FLAGS, ids=lambda flag: flag.name)
def test_every_flag_is_documented_with_its_variable_and_default(flag: Flag) -> None:
    rows = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `--")]
    mine = [row for row in rows if f"| `{flag.variable}` |" in row]
    assert len(mine) == 1, "`make pages` writes the tables of flags"
    cells = [cell.strip(" ") for cell in mine[0].replace("\\|", "/").split(" | ")]
    assert cells[0].startswith(f"| `--{flag.name}")
    assert cells[2].replace("\\", "") == flag.default_text


def test_a_program_that_embeds_the_proxy_does_not_load_click() -> None:
    program = "import sys; from cmux_proxy import *; Proxy(Config()); print('click' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LATER
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
