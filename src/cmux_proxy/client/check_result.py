"""The result of a check, and the remedy for a problem."""

from typing import Final, NamedTuple

from cmux_proxy.client.probe import NoResponse, ProbeResponse

OK: Final = "ok"
PROBLEM: Final = "problem"
# Neither good nor bad, or unknown.
NOTE: Final = "note"

_CHECK_SERVICE: Final = "check the log of the service, and whether the port speaks HTTP without TLS"
# For errors of Proxy-Status whose text does not contain the remedy.
_REMEDIES: Final = {
    "connection_terminated": _CHECK_SERVICE,
    "http_response_incomplete": _CHECK_SERVICE,
    "http_protocol_error": _CHECK_SERVICE,
    "destination_ip_unroutable": "check --upstream-host of the proxy, and the network",
    "dns_error": "check --upstream-host or --workspace-host of the proxy",
    "connection_timeout": "check whether the service hangs",
    "http_response_timeout": "check whether the service hangs",
}


class CheckResult(NamedTuple):
    """One line of a diagnosis: level, name of the check, finding, and the remedy if there is one.

    `is_timeout` if a response did not arrive in time.
    """

    level: str
    name: str
    finding: str
    remedy: str = ""
    is_timeout: bool = False


def no_response(name: str, error: NoResponse, remedy: str = "") -> CheckResult:
    """Return the result of a check without a response."""
    return CheckResult(PROBLEM, name, str(error), remedy, error.is_timeout)


def refused_by_proxy(name: str, response: ProbeResponse, prefix: str = "") -> CheckResult:
    """Return the result of a check to which the proxy itself responded with an error."""
    error = (response.proxy_error or "").partition(";")[0]
    remedy = _REMEDIES.get(error, "")
    if response.status in (401, 407):
        remedy = "--token-file FILE"
    finding = f"{prefix}the proxy responds with {response.status}: {response.text}"
    return CheckResult(PROBLEM, name, finding, remedy, response.status == 504)


def describe_status(response: ProbeResponse) -> str:
    """Return "403 (Blocked request.)"."""
    return f"{response.status} ({response.text})" if response.text else str(response.status)


def milliseconds(seconds: float) -> str:
    """Return "12 ms"."""
    return f"{seconds * 1000:.0f} ms"
