"""The dashboard: one page made of the files in this folder, which loads nothing else.

The Content-Security-Policy allows its own script and style by their hashes, and requests to the
admin listener. Does not know what the page shows.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

_STYLES: Final = ("dashboard.css",)
# In this order, because each uses what those before define.
_SCRIPTS: Final = (
    "format.js", "counter_history.js", "table.js", "rows.js", "render.js", "updates.js",
)  # fmt: skip
_NO_STYLE: Final = "<style></style>"
_NO_SCRIPT: Final = "<script></script>"


class Page(NamedTuple):
    """A page, and the Content-Security-Policy under which it works."""

    text: str
    policy: str


@cache
def dashboard() -> Page:
    """Return the dashboard."""
    style = "".join(map(_read, _STYLES))
    script = "".join(map(_read, _SCRIPTS))
    text = _read("dashboard.html")
    text = text.replace(_NO_STYLE, f"<style>{style}</style>")
    text = text.replace(_NO_SCRIPT, f"<script>{script}</script>")
    return Page(text, _policy(style, script))


def _read(name: str) -> str:
    return files("cmux_proxy.admin").joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    # With trusted types no string can become HTML: texts of clients stay texts.
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
