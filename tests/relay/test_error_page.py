"""The HTML error page: its content and its security policy."""

import base64
import hashlib
import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.relay.error_page import FIELDS, Page, escape


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the texts."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page.body().decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def refused(may_reload: bool = True, others: tuple[int, ...] = (), host: str = "") -> Page:
    page = Page(502, "nothing listens on 127.0.0.1:3000; start it", may_reload)
    page.list_ports(3000, others, host)
    return page


def policy() -> dict[str, str]:
    match = re.search(rb"Content-Security-Policy: (.*)\r\n", FIELDS)
    assert match is not None
    parts = [part.strip().partition(" ") for part in match[1].decode().split(";")]
    return {name: value for name, _, value in parts}


def test_it_shows_the_port_and_the_other_listeners() -> None:
    texts = Elements(refused(others=(22, 5173))).texts
    assert texts.count("Nothing listens on port 3000") == 2
    assert "502 from cmux-proxy: nothing listens on 127.0.0.1:3000" in texts
    assert texts[texts.index("What listens instead") :].index("22") < texts.index("5173")


def test_without_other_listeners_there_is_no_list() -> None:
    assert "What listens instead" not in Elements(refused()).texts


def test_a_long_list_is_shortened() -> None:
    elements = Elements(refused(others=tuple(range(1, 16))))
    assert len(elements.all("li")) == 12
    assert "and 3 more" in elements.texts


@pytest.mark.parametrize(
    ("host", "link"),
    [
        ("3000.localhost:8080", "//5173.localhost:8080/"),
        ("a-1-3000.dev.example", "//a-1-5173.dev.example/"),
        ("localhost:3000", None),
        ("13000.localhost", None),
        ("app.example", None),
        ("", None),
    ],
)
def test_ports_are_links_if_the_host_contains_the_port(host: str, link: str | None) -> None:
    links = [link["href"] for link in Elements(refused(others=(5173,), host=host)).all("a")]
    assert links == ([] if link is None else [link])


def test_only_a_request_that_can_be_repeated_reloads_the_page() -> None:
    assert len(Elements(refused()).all("script")) == 1
    elements = Elements(refused(may_reload=False))
    assert (elements.all("script"), elements.all("meta")[2:]) == ([], [])
    assert "Send it again once something does." in elements.texts


def test_without_scripts_a_meta_element_reloads_the_page() -> None:
    metas = Elements(refused()).all("meta")
    assert {"http-equiv": "refresh", "content": "5"} in metas


def test_another_failure_shows_its_text_and_does_not_reload() -> None:
    elements = Elements(Page(504, "a:1 did not answer in time", True))
    assert "Gateway Timeout" in elements.texts
    assert "A:1 did not answer in time." in elements.texts
    assert elements.all("script") == []
    assert elements.all("a") == [{"href": ""}]
    assert "Refused" in Elements(Page(499, "no", True)).texts
    assert Elements(Page(499, "no", False)).all("a") == []


def test_text_and_host_are_escaped() -> None:
    page = Page(502, "<script>alert(1)</script>", True)
    assert b"<script>alert" not in page.body()
    page.list_ports(3000, [1], '3000."><img src=x>')
    elements = Elements(page)
    assert elements.all("img") == []
    assert elements.all("a") == [{"href": '//1."><img src=x>/'}]


@given(st.text(st.sampled_from("&<>\"';a\u00e4")))
def test_escapes_are_those_of_the_standard_library(text: str) -> None:
    assert escape(text) == html.escape(text)


def test_the_policy_allows_only_the_style_and_the_script_of_the_page() -> None:
    text = refused().body().decode()
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy()[directive] == f"'sha256-{digest}'"
    others = {
        name: value for name, value in policy().items() if name[:6] not in ("style-", "script")
    }
    assert others == {
        "default-src": "'none'", "connect-src": "'self'", "base-uri": "'none'",
        "form-action": "'none'",
    }  # fmt: skip


def test_it_loads_no_external_resources() -> None:
    elements = Elements(refused(others=(1,), host="3000.localhost"))
    assert not any(
        "src" in attributes or "style" in attributes for _, attributes in elements.elements
    )
    assert elements.all("link") == []
    assert elements.all("html") == [{"lang": "en"}]
