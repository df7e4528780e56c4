"""The file of the local authority: who may read it, races, and files that cannot be used."""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cmux_proxy import CertificateError
from cmux_proxy.net.tls_authority import Authority
from cmux_proxy.server.authority_file import AuthorityFile, state_directory
from tests.helpers.authority_files import use_state
from tests.helpers.proxies import environment

REMEDY = "remove it with: cmux-proxy trust --remove; then start again, and run: cmux-proxy trust"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuthorityFile:
    return use_state(tmp_path / "state", monkeypatch)


def reason_of(call: Callable[[], object]) -> str:
    """Return why a call fails, which is one line."""
    with pytest.raises(CertificateError) as caught:
        call()
    assert "\n" not in caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XDG_STATE_HOME": "/x/state", "HOME": "/home/a"}, "/x/state/cmux-proxy"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/home/a"}, "/home/a/.local/state/cmux-proxy"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/a"}, "/home/a/.local/state/cmux-proxy"),
    ],
    ids=["set", "not absolute", "empty"],
)
def test_the_state_directory_is_that_of_the_user(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert state_directory() == expected


def test_a_user_without_a_home_gets_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setenv("HOME", "nowhere")
    assert reason_of(state_directory) == (
        "this user has no home directory; set XDG_STATE_HOME to a directory"
    )


def test_it_is_made_once_for_this_user_alone(file: AuthorityFile) -> None:
    made, is_new = file.load_or_make(["example.dev"])
    assert is_new
    modes = [
        stat.S_IMODE(os.stat(path).st_mode)
        for path in (os.path.dirname(file.path), file.path, file.certificate_path)
    ]
    assert modes == [0o700, 0o600, 0o600]
    assert sorted(os.listdir(os.path.dirname(file.path))) == ["authority.key", "authority.pem"]
    assert b"PRIVATE" not in Path(file.certificate_path).read_bytes()
    again, is_new = file.load_or_make(["example.dev"])
    assert not is_new
    assert again.certificate == made.certificate
    assert made.domains() == ["localhost", "example.dev"]


def test_the_certificate_is_written_again_if_it_is_gone_or_another(file: AuthorityFile) -> None:
    authority, _ = file.load_or_make([])
    path = Path(file.certificate_path)
    path.unlink()
    file.load_or_make([])
    assert path.read_bytes() == authority.certificate_pem()
    path.write_bytes(b"another")
    file.load_or_make([])
    assert path.read_bytes() == authority.certificate_pem()


# Prints the name of the authority, once its standard input ends.
PROGRAM = """
import sys
from cmux_proxy.server.authority_file import AuthorityFile, state_directory
file = AuthorityFile(state_directory())
print("ready", flush=True)
sys.stdin.read()
authority, is_new = file.load_or_make([])
print(authority.name(), is_new)
"""


def test_processes_that_start_together_have_one_authority(file: AuthorityFile) -> None:
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
                )
            )
            for _ in range(6)
        ]  # fmt: skip
        outputs = [process.stdout for process in processes if process.stdout]
        assert [output.readline() for output in outputs] == ["ready\n"] * len(processes)
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        lines = [output.read().split() for output in outputs]
    assert [process.returncode for process in processes] == [0] * len(processes)
    assert len({" ".join(line[:-1]) for line in lines}) == 1
    assert [line[-1] for line in lines].count("True") == 1
    assert sorted(os.listdir(os.path.dirname(file.path))) == ["authority.key", "authority.pem"]


def test_the_loser_of_a_race_takes_the_authority_of_the_winner(
    file: AuthorityFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner, _ = file.load_or_make([])
    monkeypatch.setattr(os.path, "lexists", lambda _path: False)
    loser, is_new = file.load_or_make([])
    assert not is_new
    assert loser.certificate == winner.certificate
    assert sorted(os.listdir(os.path.dirname(file.path))) == ["authority.key", "authority.pem"]


def test_a_domain_that_is_not_covered_needs_a_new_authority(file: AuthorityFile) -> None:
    file.load_or_make(["example.dev"])
    file.load_or_make([])
    file.load_or_make(["team.example.dev"])
    assert reason_of(lambda: file.load_or_make(["example.dev", "a.test", "b.test"])) == (
        f"the authority in {file.path} cannot issue for a.test, b.test; {REMEDY}"
    )
    file.remove()
    assert not os.path.exists(file.certificate_path)
    file.remove()
    authority, is_new = file.load_or_make(["a.test"])
    assert is_new
    assert authority.covers("a.test")


def test_an_authority_that_has_expired_is_not_used(
    file: AuthorityFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.load_or_make([])
    monkeypatch.setattr(Authority, "has_expired", lambda _self: True)
    assert reason_of(lambda: file.load([])) == (
        f"the authority in {file.path} has expired; {REMEDY}"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "PEM"),
        (b"\xff\x00nonsense", "PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", ""),
    ],
    ids=["empty", "nonsense", "a key that is none"],
)
def test_a_broken_file_is_not_replaced(file: AuthorityFile, content: bytes, reason: str) -> None:
    file.load_or_make([])
    Path(file.path).write_bytes(content)
    line = reason_of(lambda: file.load_or_make([]))
    assert line.startswith(f"the authority in {file.path} cannot be used: ")
    assert line.endswith("; delete the file, start again, and run: cmux-proxy trust")
    assert reason in line
    assert Path(file.path).read_bytes() == content


def test_what_others_may_access_is_not_used(file: AuthorityFile) -> None:
    file.load_or_make([])
    os.chmod(file.path, 0o640)
    assert reason_of(lambda: file.load_or_make([])) == (
        f"other users may access {file.path}; run: chmod 600 {file.path}"
    )
    os.chmod(file.path, 0o600)
    directory = os.path.dirname(file.path)
    os.chmod(directory, 0o755)
    assert reason_of(lambda: file.load_or_make([])) == (
        f"other users may access {directory}; run: chmod 700 {directory}"
    )


def test_a_directory_that_others_may_access_gets_no_authority(file: AuthorityFile) -> None:
    directory = os.path.dirname(file.path)
    os.makedirs(directory)
    os.chmod(directory, 0o777)
    assert "other users may access" in reason_of(lambda: file.load_or_make([]))
    assert os.listdir(directory) == []


def test_files_of_another_user_are_not_used(
    file: AuthorityFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.load_or_make([])
    user = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert reason_of(lambda: file.load([])) == (
        f"{os.path.dirname(file.path)} belongs to another user; run as that user, or set "
        "XDG_STATE_HOME"
    )


def test_a_missing_file_and_a_directory_that_cannot_be_written(
    file: AuthorityFile, tmp_path: Path
) -> None:
    assert "No such file or directory" in reason_of(lambda: file.load([]))
    (tmp_path / "state").write_text("a file in its place")
    assert reason_of(lambda: file.load_or_make([])).startswith("cannot write the authority in ")


def test_a_file_that_cannot_be_read_is_one_line(
    file: AuthorityFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.load_or_make([])
    os.unlink(file.path)
    os.mkdir(file.path, 0o700)
    assert "cannot be used: Is a directory; delete the file" in reason_of(lambda: file.load([]))
