"""Where a proxy is."""

import pytest

from cmux_proxy.client.proxy_url import ProxyUrl


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("http://vm:8080", ("vm", 8080, False), "http://vm:8080"),
        ("http://vm:8080/", ("vm", 8080, False), "http://vm:8080"),
        ("HTTP://VM", ("vm", 80, False), "http://vm:80"),
        ("https://edge.example", ("edge.example", 443, True), "https://edge.example:443"),
        ("http://[::1]:8080", ("::1", 8080, False), "http://[::1]:8080"),
    ],
)
def test_a_url_names_a_host_and_a_port(
    text: str, expected: tuple[str, int, bool], shown: str
) -> None:
    url = ProxyUrl.parse(text)
    assert url == expected
    assert str(url) == shown


@pytest.mark.parametrize(
    "text",
    ["", "vm:8080", "//vm:8080", "ftp://vm", "http://", "http://:80", "http://vm:x", "http://vm:0",
     "http://vm:65536", "http://vm/a", "http://vm?a", "http://vm#a", "http://u:p@vm", "http://[::1",
     "http://a..b", f"http://{'a' * 64}:80"],
)  # fmt: skip
def test_nothing_else_is_the_url_of_a_proxy(text: str) -> None:
    with pytest.raises(ValueError, match="is not a URL like http://host:8080") as caught:
        ProxyUrl.parse(text)
    assert repr(text) in str(caught.value)
