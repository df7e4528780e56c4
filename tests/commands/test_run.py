"""cmux-proxy run: a command in a workspace is the same command elsewhere, but for its network."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cmux_proxy import cli
from cmux_proxy.isolation.registry import Registry
from tests.helpers.proxies import environment
from tests.helpers.timing import LATER
from tests.helpers.workspaces import (
    ending,
    finish_quietly,
    holder_pid,
    in_workspace,
    listed,
    need_namespaces,
    run,
    running,
)

# Someone who may make no namespace of either kind.
FORBIDDEN = (
    "unshare", "--user", "--map-root-user", "--net",
    "sh", "-c", 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"', "sh",
    "setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin",
)  # fmt: skip


@pytest.fixture
def allowed(registry: Path) -> Path:
    """Return the registry, where namespaces can be made."""
    need_namespaces(())
    return registry


# What the command gets, and what becomes of it


def test_it_has_only_its_own_loopback(registry: Path, prefix: tuple[str, ...]) -> None:
    done = run("a-1", "cat", "/proc/net/dev", prefix=prefix)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(":")[0].strip() for line in done.stdout.splitlines()[2:]] == ["lo"]


def test_it_is_the_same_user_with_the_same_files(
    registry: Path, prefix: tuple[str, ...], tmp_path: Path
) -> None:
    done = run("a-1", "sh", "-c", "id -u; id -g; pwd; touch here", prefix=prefix, cwd=tmp_path)
    assert done.stdout.split() == [str(os.geteuid()), str(os.getegid()), str(tmp_path)]
    assert (tmp_path / "here").stat().st_uid == os.geteuid()


@pytest.mark.parametrize("status", [0, 7, 255])
def test_its_exit_status_is_passed_on(allowed: Path, status: int) -> None:
    assert run("a-1", "sh", "-c", f"exit {status}").returncode == status


def test_its_input_and_output_are_those_of_run(allowed: Path) -> None:
    done = run("a-1", "sh", "-c", "cat; echo errors >&2", input="words")
    assert (done.stdout, done.stderr) == ("words", "errors\n")


def test_it_replaces_the_process_so_that_signals_reach_it(allowed: Path) -> None:
    with running("a-1", "sleep", "60") as process:
        assert listed()[0][3:] == [str(process.pid), "sleep 60"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(LATER) == -signal.SIGTERM


def test_ctrl_c_on_its_terminal_interrupts_it(allowed: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        command = in_workspace("a-1", "sh", "-c", "tty; exec sleep 60")
        os.execvpe(command[0], command, environment())
    try:
        output = b""
        while b"\n" not in output:
            output += os.read(terminal, 1024)
        assert output.startswith(b"/dev/pts/")
        os.write(terminal, b"\x03")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGINT
    finally:
        os.close(terminal)


def test_no_signals_are_ignored_and_no_descriptors_are_open(allowed: Path) -> None:
    # Whoever runs the tests may ignore some: nohup does.
    ours = Path("/proc/self/status").read_text("ascii").partition("SigIgn:")[2].split()[0]
    # The interpreter's own are not inherited.
    own = 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1
    done = run("a-1", "sh", "-c", "grep SigIgn /proc/self/status; ls /proc/self/fd")
    _title, ignored, *descriptors = done.stdout.split()
    assert int(ignored, 16) == int(ours, 16) & ~own
    # The last one is the directory that `ls` reads.
    assert descriptors == ["0", "1", "2", "3"]


def test_it_has_only_children_that_it_has_started(allowed: Path) -> None:
    script = "cat /proc/$$/task/$$/children; exit"
    assert len(run("a-1", "sh", "-c", script).stdout.split()) == 1


def test_run_in_the_same_workspace_inside_it_shares_it(
    registry: Path, prefix: tuple[str, ...]
) -> None:
    # Both names have one address, which is what counts.
    again = in_workspace("other-1", "readlink", "/proc/self/ns/net")
    done = run(
        "a-1", "sh", "-c", 'readlink /proc/self/ns/net; exec "$@"', "sh", *again, prefix=prefix
    )
    first, second = done.stdout.split()
    assert first == second != os.readlink("/proc/self/ns/net")


def test_flags_after_the_command_belong_to_it(allowed: Path) -> None:
    command = [*in_workspace("a-1")[:-1], "echo", "--workspace", "b-2", "--", "-h"]
    assert finish_quietly(command).stdout == "--workspace b-2 -- -h\n"


# What goes wrong is one line


def complaint(done: "subprocess.CompletedProcess[str]") -> tuple[int, str]:
    """Return the status, and the only line on standard error without its beginning."""
    assert (done.stdout, done.stderr.count("\n")) == ("", 1), done
    assert done.stderr.startswith("cmux-proxy: error: ")
    return done.returncode, done.stderr[19:-1]


def test_a_missing_command_is_127_and_leaves_nothing(allowed: Path) -> None:
    assert complaint(run("a-1", "no-such-program")) == (127, "no-such-program: command not found")
    assert listed() == []


def test_a_command_that_cannot_be_run_is_126(allowed: Path) -> None:
    assert complaint(run("a-1", "/etc/passwd")) == (126, "/etc/passwd: Permission denied")


def test_another_workspace_inside_a_workspace_is_refused(
    registry: Path, prefix: tuple[str, ...]
) -> None:
    done = run("a-1", *in_workspace("b-2", "true"), prefix=prefix)
    expected = "this is inside the workspace of 127.18.0.1; workspaces do not nest"
    assert complaint(done) == (125, expected)


def test_without_permission_for_namespaces_there_is_a_remedy(registry: Path) -> None:
    need_namespaces(())
    status, expected = complaint(run("a-1", "true", prefix=FORBIDDEN))
    assert status == 125
    assert expected.startswith(
        "no network namespace can be created: No space left on device; run it as "
    )
    assert "user.max_user_namespaces" in expected
    # The keeper that could not begin takes its socket away, perhaps a moment later.
    end = time.monotonic() + LATER
    while list(registry.iterdir()):
        assert time.monotonic() < end, "a socket is left over"
        os.sched_yield()


def test_a_directory_that_others_may_change_is_not_used(registry: Path) -> None:
    registry.mkdir(mode=0o755)
    status, expected = complaint(run("a-1", "true"))
    assert (status, expected) == (
        125,
        f"{registry} is not this user's alone (mode 0700); remove it",
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--workspace", "a-65537", "true"], "'a-65537' ends with a number above 65535"),
        (["--workspace", "a/", "true"], "'a/' is empty"),
        (["true"], "Missing option '--workspace'."),
        (["--workspace", "a"], "Missing argument 'COMMAND...'."),
        (["--workspace", "a", "--"], "Missing argument 'COMMAND...'."),
    ],
)
def test_a_bad_name_or_no_command_is_2(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *arguments]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert errors.endswith(f"{expected}\n")


def test_on_other_systems_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cli.main(["run", "--workspace", "a-1", "true"]) == 125
    assert re.fullmatch(
        r"cmux-proxy: error: isolated workspaces need Linux; .*\n", capsys.readouterr().err
    )


# How long a workspace lives


def test_commands_share_a_workspace_which_ends_with_the_last_one(
    registry: Path, prefix: tuple[str, ...]
) -> None:
    with (
        running("/home/a-1", "sleep", "60", prefix=prefix) as first,
        ending(holder_pid(registry)),
        running("A-1", "sleep", "61", prefix=prefix) as second,
    ):
        assert len({os.readlink(f"/proc/{process.pid}/ns/net") for process in (first, second)}) == 1
        assert listed() == [
            ["a-1", "127.18.0.1", "-", str(first.pid), "sleep 60"],
            ["a-1", "127.18.0.1", "-", str(second.pid), "sleep 61"],
        ]
        first.kill()
        first.wait()
        assert [row[3] for row in listed()] == [str(second.pid)]
    assert (listed(), list(registry.iterdir())) == ([], [])


def test_simultaneous_commands_share_one_holder(registry: Path, prefix: tuple[str, ...]) -> None:
    command = in_workspace("a-1", "sh", "-c", "readlink /proc/self/ns/net; read end", prefix=prefix)
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
        for _ in range(4)
    ]
    try:
        namespaces = {
            process.stdout.readline() for process in processes if process.stdout is not None
        }
        assert len(namespaces) == 1
        with ending(holder_pid(registry)):
            for process in processes:
                process.communicate(b"\n", LATER)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert list(registry.iterdir()) == []


def test_entering_waits_while_a_holder_may_be_starting(allowed: Path) -> None:
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(Registry.open())
        with opened.lock():
            process = subprocess.Popen(in_workspace("a-1", "true"), env=environment())
            stack.callback(process.wait)
            stack.callback(process.kill)
            while not waits_for_a_lock(process.pid):
                assert process.poll() is None, "it has not asked for the lock"
            assert opened.addresses() == []
        assert process.wait(LATER) == 0


def waits_for_a_lock(pid: int) -> bool:
    rows = [line.split() for line in Path("/proc/locks").read_text("ascii").splitlines()]
    return any(row[1] == "->" and row[5] == str(pid) for row in rows)


def test_a_killed_holder_is_replaced(registry: Path, prefix: tuple[str, ...]) -> None:
    with running("a-1", "sleep", "60", prefix=prefix):
        with ending(pid := holder_pid(registry)):
            os.kill(pid, signal.SIGKILL)
        assert (listed(), len(list(registry.iterdir()))) == ([], 1)
        with running("a-1", "sleep", "61", prefix=prefix) as process:
            assert [row[3] for row in listed()] == [str(process.pid)]
