"""Flags of the subcommands at the user's end."""

import click
import pytest

from cmux_proxy.client.client_options import HeaderType, UrlType, header_lines
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.config.token_file import Tokens


def test_a_url_is_read_as_that_of_a_proxy() -> None:
    assert UrlType().convert("http://vm", None, None) == ProxyUrl("vm", 80, False)
    with pytest.raises(click.UsageError, match="is not a URL like"):
        UrlType().convert("vm:80", None, None)


@pytest.mark.parametrize("line", ["A: 1", "a:1", "X-Y:", "Cookie: a=b; c=d"])
def test_a_header_is_one_line(line: str) -> None:
    assert HeaderType().convert(line, None, None) == line


@pytest.mark.parametrize(
    "line", ["", "A", ": 1", "A : 1", "A: 1\r\nB: 2", "A: 1\n", "A: \x00", "A: \u0661"]
)
def test_other_texts_are_no_headers(line: str) -> None:
    with pytest.raises(click.UsageError, match="is not a header line"):
        HeaderType().convert(line, None, None)


def test_the_token_is_a_header_line() -> None:
    assert header_lines(["A: 1"], None) == ["A: 1"]
    assert header_lines(["A: 1"], Tokens(["one", "two"], "", False)) == [
        "A: 1",
        "X-Cmux-Token: one",
    ]
