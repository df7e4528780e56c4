"""What a check says: how it went, and what helps."""

from typing import Final, NamedTuple

from cmux_proxy.client.probe import Answer, NoAnswer

OK: Final = "ok"
PROBLEM: Final = "problem"
# Neither well nor ill, or not to be told.
NOTE: Final = "note"

_ITS_LOG: Final = "see the log of the service, and whether the port speaks HTTP without TLS"
# By the errors of Proxy-Status whose text does not say what helps.
_REMEDIES: Final = {
    "connection_terminated": _ITS_LOG,
    "http_response_incomplete": _ITS_LOG,
    "http_protocol_error": _ITS_LOG,
    "destination_ip_unroutable": "check --upstream-host of the proxy, and the network",
    "dns_error": "check --upstream-host or --workspace-host of the proxy",
    "connection_timeout": "see whether the service hangs",
    "http_response_timeout": "see whether the service hangs",
}


class CheckResult(NamedTuple):
    """The result of one check, as one line: its name, what was found, and the remedy if any."""

    kind: str
    name: str
    says: str
    remedy: str = ""
    is_timeout: bool = False


def unanswered(name: str, error: NoAnswer, remedy: str = "") -> CheckResult:
    """Nothing came."""
    return CheckResult(PROBLEM, name, str(error), remedy, error.is_timeout)


def refused_by_proxy(name: str, answer: Answer, before: str = "") -> CheckResult:
    """The proxy has answered itself, in its own words."""
    error = (answer.proxy_error or "").partition(";")[0]
    remedy = _REMEDIES.get(error, "")
    if answer.status in (401, 407):
        remedy = "--token-file FILE"
    is_timeout = answer.status == 504
    says = f"{before}the proxy answers {answer.status}: {answer.text}"
    return CheckResult(PROBLEM, name, says, remedy, is_timeout)


def status_told(answer: Answer) -> str:
    """Return "403 (Blocked request.)"."""
    return f"{answer.status} ({answer.text})" if answer.text else str(answer.status)


def milliseconds(seconds: float) -> str:
    """Return "12 ms"."""
    return f"{seconds * 1000:.0f} ms"
