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
        ("http://[fe80::1%25lo]:80", ("fe80::1%lo", 80, False), "http://[fe80::1%25lo]:80"),
        ("https://[FE80::1%lo]", ("fe80::1%lo", 443, True), "https://[fe80::1%25lo]:443"),
        ("http://[fe80::1%251]:80", ("fe80::1%1", 80, False), "http://[fe80::1%251]:80"),
    ],
)
def test_a_url_has_a_host_and_a_port(
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
def test_other_texts_are_no_urls_of_a_proxy(text: str) -> None:
    with pytest.raises(ValueError, match="is not a URL like http://host:8080") as caught:
        ProxyUrl.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://[fe80::1]:8080", "is link-local and needs its interface, as in "
         "http://[fe80::1%25eth0]:8080"),
        ("https://[fe80::1%25]", "is link-local and needs its interface, as in "
         "https://[fe80::1%25eth0]:443"),
        ("http://[fe80::1%25no-such]:80", "names 'no-such', which is not a network "
         "interface of this machine"),
    ],
)  # fmt: skip
def test_a_link_local_address_needs_an_interface_of_this_machine(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match="interface") as caught:
        ProxyUrl.parse(text)
    assert str(caught.value) == f"{text!r} {expected}"


@pytest.mark.parametrize(
    ("host", "name", "authority"),
    [
        ("vm", "vm", "vm:80"),
        ("::1", "::1", "[::1]:80"),
        ("fe80::1%lo", "fe80::1", "[fe80::1]:80"),
    ],
)
def test_a_zone_is_not_sent(host: str, name: str, authority: str) -> None:
    url = ProxyUrl(host, 80, False)
    assert (url.name, url.authority) == (name, authority)
