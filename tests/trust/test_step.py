"""Steps: their commands for a shell, and their failures."""

import os

import pytest

from cmux_proxy.trust.step import Failure, Step
from tests.helpers.fake_programs import FakePrograms


def test_commands_are_a_line_for_a_shell() -> None:
    commands = [("a", "-x", "b c"), ("d",)]
    assert Step("s", commands, lambda: True).by_hand() == "a -x 'b c' && d"
    step = Step("s", commands, lambda: True, "may not", needs_root=True)
    assert step.by_hand() == "sudo a -x 'b c' && sudo d"


def test_commands_run_until_one_fails(programs: FakePrograms) -> None:
    good = programs.add("good")
    bad = programs.add("bad", "echo; echo '  the reason ' >&2; echo more >&2; exit 3")
    silent = programs.add("silent", "exit 7")
    Step("s", [(good, "1"), (good, "2")], lambda: False).run()
    for program, reason in ((bad, "^the reason$"), (silent, "^status 7$")):
        with pytest.raises(Failure, match=reason):
            Step("s", [(good, "3"), (program,), (good, "4")], lambda: False).run()
    with pytest.raises(Failure, match=r"cannot run /no/such: No such file or directory"):
        Step("s", [("/no/such",)], lambda: False).run()
    expected = ["good 1", "good 2", "good 3", "bad ", "good 3", "silent "]
    assert programs.started() == expected


def test_a_program_gets_no_input(programs: FakePrograms) -> None:
    program = programs.add("reader", "read line && exit 1; exit 0")
    reader, writer = os.pipe()
    os.write(writer, b"a line\n")
    before = os.dup(0)
    try:
        os.dup2(reader, 0)
        Step("s", [(program,)], lambda: False).run()
    finally:
        os.dup2(before, 0)
        for descriptor in (before, reader, writer):
            os.close(descriptor)
