"""The dashboard: its parts, put together to one page that needs nothing else.

The page may run its own script and style, which are told by their hashes, and ask this listener.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

# Parts of a page, and the element in which each is.
_STYLE: Final = ("dashboard.css",)
_SCRIPT: Final = ("figures.js", "table.js", "rows.js", "telling.js")
_NO_STYLE: Final = "<style></style>"
_NO_SCRIPT: Final = "<script></script>"


class Page(NamedTuple):
    """A page, and the Content-Security-Policy under which it works."""

    text: str
    policy: str


@cache
def dashboard() -> Page:
    """Return the dashboard."""
    style = "".join(map(_part, _STYLE))
    script = "".join(map(_part, _SCRIPT))
    text = _part("dashboard.html")
    text = text.replace(_NO_STYLE, f"<style>{style}</style>")
    text = text.replace(_NO_SCRIPT, f"<script>{script}</script>")
    return Page(text, _policy(style, script))


def _part(name: str) -> str:
    return files("cmux_proxy.admin").joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    # Whatever comes from outside is text: with trusted types no string can become HTML.
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
