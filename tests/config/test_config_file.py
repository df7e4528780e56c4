"""A file of flags: which source overrides which, how values are written, one line per error."""

import json
from operator import attrgetter
from pathlib import Path

import pytest

from cmux_proxy import Config
from cmux_proxy.config.config_file import FileValues
from cmux_proxy.config.option_types import CountType, DurationType, SizeType, WorkerCountType
from cmux_proxy.config.options import FLAGS, Flag
from tests.test_cli import OPTIONS, Option, Ran, complaint, every_option, ran

__all__ = ["ran"]

SWITCHES = [flag for flag in FLAGS if isinstance(flag.default, bool)]


class File:
    """A file that can be rewritten."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def write(self, text: str | bytes) -> tuple[str, str]:
        """Write it; return the flag that names it."""
        Path(self.path).write_bytes(text.encode() if isinstance(text, str) else text)
        return "--config", self.path


@pytest.fixture
def file(tmp_path: Path) -> File:
    """Return a file that does not exist yet, with a blank in its name."""
    return File(tmp_path / "my flags.toml")


def key_of(option: Option) -> str:
    """Return the key of a flag."""
    return option.flag.removeprefix("--")


# Values


def test_a_file_may_begin_with_a_byte_order_mark(ran: Ran, file: File) -> None:
    assert ran.config(*file.write(b"\xef\xbb\xbfworkers = 2\r\n")).workers == 2


def test_every_flag_has_values_in_these_tests() -> None:
    tried = {key_of(option) for option in OPTIONS} | {flag.name for flag in SWITCHES}
    assert tried | {"auth-token-file"} == {flag.name for flag in FLAGS}, (
        "add an Option(...) with two values of the flag to OPTIONS in tests/test_cli.py"
    )


@every_option
def test_a_flag_overrides_its_variable_which_overrides_the_file(
    option: Option, ran: Ran, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = option.values
    config = file.write(f"{key_of(option)} = {json.dumps(first)}")
    assert option.read(ran.config(*config)) == option.expected[0]
    monkeypatch.setenv(option.variable, second)
    assert option.read(ran.config(*config)) == option.expected[1]
    monkeypatch.setenv(option.variable, "")
    assert option.read(ran.config(*config)) == option.expected[0]
    monkeypatch.setenv(option.variable, first)
    file.write(f"{key_of(option)} = {json.dumps(first)}")
    assert option.read(ran.config(*config, option.flag, second)) == option.expected[1]


@every_option
def test_a_file_without_the_key_leaves_the_default(option: Option, ran: Ran, file: File) -> None:
    other = "loop" if key_of(option) == "log-level" else "log-level"
    value = {"loop": "asyncio", "log-level": "debug"}[other]
    assert option.read(ran.config(*file.write(f'{other} = "{value}"'))) == option.read(Config())


@pytest.mark.parametrize("flag", SWITCHES, ids=lambda flag: flag.name)
def test_a_switch_is_a_boolean(
    flag: Flag, ran: Ran, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, _, name = flag.field.rpartition(".")

    def read(config: Config) -> object:
        return getattr(getattr(config, part) if part else config, name)

    assert read(ran.config(*file.write(f"{flag.name} = true"))) is True
    monkeypatch.setenv(flag.variable, "0")
    assert read(ran.config("--config", file.path)) is False
    monkeypatch.delenv(flag.variable)
    assert read(ran.config(*file.write(f"{flag.name} = false"))) is False


@pytest.mark.parametrize(
    "flag",
    [flag for flag in FLAGS if isinstance(flag.type, DurationType)],
    ids=lambda flag: flag.name,
)
def test_a_duration_may_be_a_number_of_seconds(flag: Flag, ran: Ran, file: File) -> None:
    for text, seconds in [("7", 7.0), ("0.5", 0.5), ('"250ms"', 0.25)]:
        config = ran.config(*file.write(f"{flag.name} = {text}"))
        assert attrgetter(flag.field)(config) == seconds


@pytest.mark.parametrize(
    "flag",
    [flag for flag in FLAGS if isinstance(flag.type, SizeType | CountType | WorkerCountType)],
    ids=lambda flag: flag.name,
)
def test_a_size_or_a_count_may_be_a_number(flag: Flag, ran: Ran, file: File) -> None:
    config = ran.config(*file.write(f"{flag.name} = 200_000"))
    part, _, name = flag.field.rpartition(".")
    assert getattr(getattr(config, part) if part else config, name) == 200_000


def test_a_list_is_an_array_or_a_string_with_commas(ran: Ran, file: File) -> None:
    config = ran.config(*file.write('listen = ["[::1]:1", "127.0.0.1:2"]\nallow-port = "80, 81"'))
    assert config.listen == ("[::1]:1", "127.0.0.1:2")
    assert config.access.allow_ports == ("80", "81")


def test_an_array_of_ports_may_have_numbers_and_an_empty_one_has_none(ran: Ran, file: File) -> None:
    config = ran.config(*file.write('allow-port = [80, "90-99"]\ndeny-port = []'))
    assert config.access.allow_ports == ("80", "90-99")
    assert config.access.deny_ports == ()


def test_a_flag_replaces_all_entries_of_the_file(ran: Ran, file: File) -> None:
    config = ran.config(*file.write("allow-port = [80, 81]"), "--allow-port", "82")
    assert config.access.allow_ports == ("82",)


def test_tokens_come_from_the_file_that_the_file_names(
    ran: Ran, file: File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokens").write_text("one\ntwo\n")
    monkeypatch.setenv("CMUX_AUTH_TOKEN", "three")
    config = ran.config(*file.write(f'auth-token-file = "{tmp_path}/tokens"'))
    assert config.access.tokens == ("one", "two")


def test_the_variable_names_one_file_which_may_have_blanks(
    ran: Ran, file: File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write("workers = 3")
    monkeypatch.setenv("CMUX_CONFIG", file.path)
    assert ran.config().workers == 3
    other = File(tmp_path / "other")
    assert ran.config(*other.write("workers = 4")).workers == 4
    monkeypatch.setenv("CMUX_CONFIG", "")
    assert ran.config().workers == 1


def test_an_empty_file_is_no_file(ran: Ran, file: File) -> None:
    assert ran.config(*file.write("# nothing\n")) == Config()


def test_values_of_a_file_have_its_path() -> None:
    assert (FileValues("a", {"b": 1}).path, FileValues("a", {"b": 1})["b"]) == ("a", 1)


# Errors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lisen = 1", "Unknown key 'lisen' in {path}: did you mean 'listen'?"),
        ("max_buffer = 1", "Unknown key 'max_buffer' in {path}: did you mean 'max-buffer'?"),
        ("Workers = 1", "Unknown key 'Workers' in {path}: did you mean 'workers'?"),
        ('"--loop" = "auto"', "Unknown key '--loop' in {path}: did you mean 'loop'?"),
        ("[timeouts]\nx = 1", "Unknown key 'timeouts' in {path}: "),
        ("zz = 1", "keys are flags without their dashes, which cmux-proxy --help lists"),
        ("config = 'a'", "Unknown key 'config' in {path}: "),
        ("workers = true", "'workers' in {path}: true is not a string or an integer"),
        ("workers = 1.5", "'workers' in {path}: 1.5 is not a string or an integer"),
        ("workers = [1]", "'workers' in {path}: an array is not a string or an integer"),
        ("workers = 0", "'workers' in {path}: '0' is neither a whole number of at least 1 nor"),
        ("workers.a = 0", "'workers' in {path}: a table is not a string or an integer"),
        ("upstream-host = 1", "'upstream-host' in {path}: 1 is not a string"),
        ("log-level = 1", "'log-level' in {path}: 1 is not a string"),
        ("log-level = 'loud'", "'log-level' in {path}: 'loud' is not one of 'debug', 'info',"),
        ("head-timeout = true", "'head-timeout' in {path}: true is not a string or a number"),
        ("head-timeout = 2026-01-01", "'head-timeout' in {path}: 2026-01-01 is not a string or"),
        ("head-timeout = 'soon'", "'soon' is not a duration such as 15s or 500ms"),
        ("head-timeout = inf", "'inf' is not a duration such as 15s or 500ms"),
        ("head-timeout = -1", "'-1' is not a duration such as 15s or 500ms"),
        ("busy-poll = 50", "'busy-poll' in {path}: '50' needs a unit: us, ms or s"),
        ("listen = {}", "'listen' in {path}: a table is not an array of strings, or a string or"),
        ("listen = [[]]", "'listen' in {path}: an array is not an array of strings, or a string"),
        ("listen = ['127.0.0.1:0', 'a:1']", "'listen' in {path}: 'a:1' is not IPv4:PORT"),
        ("listen = []", "'listen' in {path}: needs at least one address"),
        ("allow-port = [0]", "'allow-port' in {path}: '0' is neither a port from 1 to 65535"),
        ("rewrite-origin = 1", "'rewrite-origin' in {path}: 1 is not true or false"),
        ("rewrite-origin = 'true'", "'rewrite-origin' in {path}: 'true' is not true or false"),
        ("max-buffer = 1", "'max-buffer' in {path}: 1 is not a number from 16384 to 262144"),
        ("host-header = 'a b'", "'host-header' in {path}: 'a b' is not"),
        ("auth-token-file = '/none/x'", "'auth-token-file' in {path}: '/none/x' cannot be read"),
        ("workers 1", "{path} is not TOML: Expected '=' after a key"),
        ("workers = 1\nworkers = 2", "{path} is not TOML: Cannot overwrite a value"),
        ("workers = " + "1" * 5000, "{path} is not TOML: it has a number with too many digits"),
        ("workers = 0x" + "f" * 5000, "'workers' in {path}: Exceeds the limit"),
        ("listen = " + "[" * 5000, "{path} is not TOML: it is nested too deeply"),
        ('auth-token-file = "a\\u0000b"', "'auth-token-file' in {path}: embedded null byte"),
        ('access-log-file = "a\\u0000b"', "'access-log-file' in {path}: embedded null byte"),
        (b"# \xff", "{path} is not TOML: it has bytes that are not UTF-8"),
    ],
)
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_bad_file_is_2_and_one_line_that_names_file_and_key(
    text: str | bytes, expected: str, by: str,
    ran: Ran, file: File, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    config = file.write(text)
    if by == "variable":
        monkeypatch.setenv("CMUX_CONFIG", file.path)
    status, line = complaint(capsys, *(config if by == "flag" else ()))
    assert (status, ran.configs) == (2, [])
    assert expected.format(path=repr(file.path)) in line
    assert repr(file.path) in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["none"], "'none' cannot be read: No such file or directory"),
        (["/"], "'/' cannot be read: Is a directory"),
        ([""], "'' cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_2_and_one_line(
    arguments: list[str], expected: str, ran: Ran, capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = complaint(capsys, "--config", *arguments)
    assert (status, ran.configs) == (2, [])
    assert "'--config'" in line
    assert expected in line


def test_two_files_are_2_and_one_line(
    ran: Ran, file: File, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = File(tmp_path / "other")
    status, line = complaint(capsys, *file.write(""), *other.write(""))
    assert (status, ran.configs) == (2, [])
    assert f"there can be one file, not {file.path!r} and {other.path!r}" in line


def test_the_error_of_a_flag_does_not_name_the_file(
    ran: Ran, file: File, capsys: pytest.CaptureFixture[str]
) -> None:
    config = file.write("max-buffer = 20_000")
    status, line = complaint(capsys, *config, "--max-buffer", "1")
    assert (status, ran.configs) == (2, [])
    assert line == "Invalid value for '--max-buffer': 1 is not a number from 16384 to 262144"
