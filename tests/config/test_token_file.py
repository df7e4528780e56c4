"""A file of tokens: its lines, and whether other users may read it."""

import os
from pathlib import Path

import pytest

from cmux_proxy.config.token_file import read_tokens


@pytest.mark.parametrize(
    ("content", "tokens"),
    [
        (b"one\n\n  two \r\nthree\rfour", ["one", "two", "three", "four"]),
        (b"\xef\xbb\xbfone\n", ["one"]),
        (b"# old until May\none\n  # new\ntwo", ["one", "two"]),
        (b"one#two\n", ["one#two"]),
        (b"\xef\xbb\xbf# comment\none", ["one"]),
    ],
    ids=["line ends", "BOM", "comments", "inside", "comment behind a BOM"],
)
def test_every_line_that_is_not_a_comment_is_a_token(
    content: bytes, tokens: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(content)
    assert read_tokens(str(file)) == tokens


@pytest.mark.parametrize("content", [b"", b"# one\n", b"\xef\xbb\xbf\n", b"\xff\xfeo\0n\0e\0"])
def test_a_file_without_tokens_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"has no token in it|not ASCII"):
        read_tokens(str(file))


@pytest.mark.parametrize(
    ("mode", "is_public"), [(0o600, False), (0o640, False), (0o644, True), (0o404, True)]
)
def test_a_file_that_every_user_may_read_gets_a_warning(
    mode: int, is_public: bool, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text("one")
    file.chmod(mode)
    tokens = read_tokens(str(file))
    assert tokens.is_public is is_public
    assert tokens.warning == (
        f"every user of this machine can read the tokens in '{file}'; chmod it to 600"
        if is_public
        else ""
    )


def test_a_pipe_is_not_readable_by_other_users() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"one\n")
    os.close(writing)
    assert not read_tokens(f"/dev/fd/{reading}").is_public
    os.close(reading)
