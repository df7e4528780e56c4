"""The dashboard as it is sent: one page that loads nothing else and may do nothing else."""

import base64
import hashlib
import re

from cmux_proxy.admin.dashboard import dashboard


def parts(element: str) -> list[str]:
    """Return the contents of all elements of a type."""
    return re.findall(f"<{element}>(.*?)</{element}>", dashboard().text, re.DOTALL)


def hashed(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def test_the_policy_names_the_script_and_the_style_by_their_hashes_and_nothing_else() -> None:
    policy = dict(entry.strip().split(" ", 1) for entry in dashboard().policy.split(";"))
    (style,), (script,) = parts("style"), parts("script")
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'{hashed(style)}'",
        "script-src": f"'{hashed(script)}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_the_parts_are_there_and_none_ends_its_element_early() -> None:
    (style,), (script,) = parts("style"), parts("script")
    assert "prefers-color-scheme" in style
    assert "prefers-reduced-motion" in style
    assert "new EventSource" in script
    assert "class CounterHistory" in script
    assert dashboard().text.endswith("</html>\n")


def test_the_page_has_no_foreign_urls_and_no_handlers_or_styles_in_attributes() -> None:
    text = dashboard().text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r'(src|href)="(?!data:|activity|ports|connections)', text)
    assert not re.search(r"\s(on[a-z]+|style)=", text)
    assert "https:" not in text


def test_nothing_is_written_as_html() -> None:
    (script,) = parts("script")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval", script)


def test_tables_have_captions_and_their_headers_have_scopes() -> None:
    text = dashboard().text
    assert text.count("<table") == text.count("<caption") == 3
    assert text.count("<th") - text.count("<thead") == text.count('<th scope="col"')
