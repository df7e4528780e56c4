"""cmux-proxy workspace-ip."""

import pytest

from cmux_proxy import cli


@pytest.mark.parametrize(
    ("name", "address"), [("workspace-1", "127.18.0.1"), ("/a/b/workspace-256", "127.18.1.0")]
)
def test_it_prints_the_address(name: str, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["workspace-ip", name]) == 0
    assert capsys.readouterr() == (f"{address}\n", "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["workspace-65537"], "'workspace-65537' ends with a number above 65535"),
        ([""], "'' is empty"),
        ([], "Missing argument 'NAME'."),
        (["a", "b"], "Got unexpected extra argument (b)"),
    ],
)
def test_a_bad_name_is_2_and_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["workspace-ip", *arguments]) == 2
    out, errors = capsys.readouterr()
    assert (out, errors.count("\n")) == ("", 1)
    assert errors.endswith(f"{expected}\n")


def test_the_help_of_the_proxy_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "workspace-ip  Print the loopback address of a workspace." in capsys.readouterr().out
