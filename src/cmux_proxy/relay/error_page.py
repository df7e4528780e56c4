"""The HTML page for a browser that has opened a port on which nothing answers.

It loads nothing from elsewhere. Its only script checks whether the port is open, and then reloads,
so that the service appears. All text in it is escaped.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

_MAX_PORTS: Final = 12
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #e0e1e6;
  --ground: #fcfcfd; --card: #fff; --accent: #0d74ce; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba; --line: #363a3f;
  --ground: #111113; --card: #18191b; --accent: #70b8ff; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem;
  background: var(--ground); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; }
main { width: min(36rem, 100%); padding: 2rem 2.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 14px; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; font-weight: 650;
  letter-spacing: -.01em; text-wrap: balance; }
h2 { margin: 1.75rem 0 .5rem; font-size: .875rem; font-weight: 600; color: var(--soft); }
p { margin: .5rem 0; overflow-wrap: anywhere; }
.soft, footer { color: var(--soft); font-size: .875rem; overflow-wrap: anywhere; }
.wait { display: flex; align-items: center; gap: .625rem; margin-top: 1.25rem; }
.dot { flex: none; width: .5rem; height: .5rem; border-radius: 50%; background: var(--accent);
  animation: breathe 2.4s ease-in-out infinite; }
@keyframes breathe { 50% { opacity: .25; } }
@media (prefers-reduced-motion: reduce) { .dot { animation: none; } }
ul { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0; padding: 0; list-style: none; }
li > * { display: block; padding: .25rem .75rem; border: 1px solid var(--line);
  border-radius: 999px; font: .9375rem/1.5 ui-monospace, monospace; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
footer { margin-top: 1.75rem; padding-top: 1rem; border-top: 1px solid var(--line); }
"""

# The proxy waits for the port during each check, but briefly, so that it can shut down meanwhile.
_SCRIPT: Final = """
const pause = (time) => new Promise((done) => setTimeout(done, time));
const seen = () => new Promise((done) => document.hidden
  ? document.addEventListener("visibilitychange", done, { once: true }) : done());
const isOpen = async () => {
  const answer = await fetch(location.href, { method: "HEAD", cache: "no-store",
    redirect: "manual", headers: { "X-Cmux-Wait": "2s" } });
  return !(answer.headers.get("Proxy-Status") || "").startsWith("cmux-proxy;");
};
(async () => {
  for (;;) {
    await Promise.all([seen(), pause(500)]);
    if (await isOpen().catch(() => false)) return location.reload();
  }
})();
"""


# The SHA-256 of both; a test says which they are. Computing them would load OpenSSL at the start.
_STYLE_HASH: Final = "85HjRQLfGH6uHYvC0+WYyoEqVHU1jp8zWMGu0BM4GOo="
_SCRIPT_HASH: Final = "vtYCxqYzDU7cM5biDZ3cuSFLeWs5VBqYvCObyt3B4So="

_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; script-src 'sha256-{_SCRIPT_HASH}'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'"
)
# Complete field lines that every such page needs.
FIELDS: Final = (
    f"Content-Security-Policy: {_POLICY}\r\n"
    "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
).encode("ascii")


class Page:
    """A page about a failure; `may_reload` says that the request may be repeated safely."""

    def __init__(self, status: int, text: str, may_reload: bool) -> None:
        self._source = f"{status} from cmux-proxy"
        self._text = text
        self._may_reload = may_reload
        self._title = _PHRASES.get(status, "Refused")
        self._advice = _sentence(text)
        self._waits = False
        self._rest = _TRY_AGAIN if may_reload else ""

    def list_ports(self, port: int, others: Sequence[int], host: str) -> None:
        """Say that nothing listens on a port and list the ports that are open.

        They are links where the host names the port. The page waits for the port from now on.
        """
        self._title = f"Nothing listens on port {port}"
        self._source += f": {self._text.partition(';')[0]}"
        self._advice = "Start the service, or check the port."
        self._waits = self._may_reload
        self._rest = _WAITS if self._waits else _NO_WAIT
        if others:
            shown = "".join(
                _entry(other, _link(host, port, other)) for other in others[:_MAX_PORTS]
            )
            more = len(others) - _MAX_PORTS
            rest = f'<p class="soft">and {more} more</p>' if more > 0 else ""
            self._rest += f"<h2>What listens instead</h2>\n<ul>{shown}</ul>{rest}\n"

    def body(self) -> bytes:
        """Return the page."""
        title = escape(self._title)
        script = f"<script>{_SCRIPT}</script>\n" if self._waits else ""
        refresh = _REFRESH if self._waits else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{title}</title>\n{refresh}<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
            f"<h1>{title}</h1>\n<p>{escape(self._advice)}</p>\n{self._rest}"
            f"<footer>{escape(self._source)}</footer>\n</main>\n{script}</body>\n</html>\n"
        ).encode()


# As `html.escape`, whose module has the names of all characters, and takes half a megabyte.
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
)


def escape(text: str) -> str:
    """Return a text as HTML, for elements and for attributes."""
    return text.translate(_ESCAPES)


_WAITS: Final = (
    '<p class="wait soft" role="status"><span class="dot" aria-hidden="true"></span>'
    "This page reloads as soon as something does.</p>\n"
)
_REFRESH: Final = '<noscript><meta http-equiv="refresh" content="5"></noscript>\n'
_TRY_AGAIN: Final = '<p class="soft"><a href="">Try again</a></p>\n'
_NO_WAIT: Final = '<p class="soft">Send it again once something does.</p>\n'


def _sentence(text: str) -> str:
    """Return a line as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _entry(port: int, link: str | None) -> str:
    if link is None:
        return f"<li><span>{port}</span></li>"
    return f'<li><a href="{escape(link)}">{port}</a></li>'


def _link(host: str, port: int, other: int) -> str | None:
    """Return the URL of another port, if the first label of the host ends with the port."""
    label, dot, rest = host.partition(".")
    number = str(port)
    if not dot or not (label == number or label.endswith(f"-{number}")):
        return None
    return f"//{label.removesuffix(number)}{other}.{rest}/"
