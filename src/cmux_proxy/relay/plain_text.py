"""What plain HTTP gets where only TLS is served: a redirect for browsers, an error for the rest.

Does not know which connections are encrypted.
"""

from cmux_proxy.config.tls_section import Tls
from cmux_proxy.http1.chunked_body import ChunkRules
from cmux_proxy.relay.client_request import ClientRequest
from cmux_proxy.relay.failures import Failure, https_redirect, https_required
from cmux_proxy.relay.state import CONNECT


class PlainTextRule:
    """Picks the reply to a request in plain text."""

    def __init__(self, redirects: bool) -> None:
        self._redirects = redirects

    @staticmethod
    def from_config(config: Tls) -> "PlainTextRule | None":
        """Return the rule of a configuration, None where plain text is served."""
        return PlainTextRule(config.plain_text == "redirect") if config.refuses_plain() else None

    def failure(self, request: ClientRequest, chunk_rules: ChunkRules) -> Failure:
        """Return the reply to a request; raise BadMessage if it is not valid."""
        request.validate(chunk_rules)
        url = _https_url(request)
        if self._redirects and request.mode != CONNECT and _is_navigation(request):
            return https_redirect(url)
        return https_required(url)


def _https_url(request: ClientRequest) -> str:
    """Return where the same is served with TLS: the port takes both."""
    host = (request.host or b"").decode("ascii", "replace")
    path = b"/" if request.mode == CONNECT or request.path() == b"*" else request.path()
    return f"https://{host or 'HOST'}{path.decode('ascii', 'replace')}"


def _is_navigation(request: ClientRequest) -> bool:
    """Return whether a browser opens a page.

    Browsers send Sec-Fetch-Mode in plain text to this machine only (Fetch Metadata), and to others
    Upgrade-Insecure-Requests (Upgrade Insecure Requests section 3.2.1).
    """
    return b"navigate" in request.values(b"sec-fetch-mode") or b"1" in request.values(
        b"upgrade-insecure-requests"
    )
