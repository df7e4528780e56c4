"""The scored cases of Http11Probe, a public corpus, that concern a proxy.

Only facts are taken from it (https://github.com/MDA2AV/Http11Probe): the ids, the bytes to send,
and the results that pass. `probe_framing.py` and `probe_syntax.py` have the cases; this file has
their class and their scores. `bench/probe.py` sends the same cases to other proxies.
"""

from dataclasses import dataclass
from enum import Enum


class CheckResult(Enum):
    """The score of a result: WARN follows the RFC, but is not the strictest allowed result."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Probe:
    """One case: its id in the corpus, the RFC and section, and the bytes to send, in steps.

    `<host>` and `<route>` are replaced by a host and the line of the routing field. `passes` and
    `warns` are statuses. With `may_close`, a close without a response passes; with `may_wait`, no
    response passes. `one_response` is for desyncs: a request that is not refused has to be the last
    on its connection. `content` is the body that the upstream has to receive.
    """

    name: str
    rfc: str
    steps: tuple[bytes, ...]
    passes: tuple[int, ...] = (400,)
    warns: tuple[int, ...] = ()
    may_close: bool = True
    may_wait: bool = False
    one_response: bool = False
    content: bytes | None = None

    def sent(self, host: bytes, route: bytes) -> list[bytes]:
        """Return the steps with a host and a route."""
        return [step.replace(b"<host>", host).replace(b"<route>", route) for step in self.steps]

    def verdict(self, statuses: list[int], is_closed: bool) -> CheckResult:
        """Return the score of these responses; `is_closed` says whether the connection closed."""
        if not statuses:
            passes = self.may_close if is_closed else self.may_wait
            return CheckResult.PASS if passes else CheckResult.FAIL
        is_accepted = 200 <= statuses[0] < 300
        if self.one_response and statuses[0] != 400 and (is_accepted or 400 in self.passes):
            is_last = is_closed and len(statuses) == 1
            return CheckResult.PASS if is_last else CheckResult.FAIL
        if statuses[0] in self.passes:
            return CheckResult.PASS
        return CheckResult.WARN if statuses[0] in self.warns else CheckResult.FAIL


def request(fields: bytes = b"", body: bytes = b"", start: bytes = b"POST / HTTP/1.1") -> bytes:
    """Return a request with a valid Host and the route before its other fields."""
    return start + b"\r\nHost: <host>\r\n<route>" + fields + b"\r\n" + body


def get(fields: bytes = b"", start: bytes = b"GET / HTTP/1.1") -> bytes:
    """Return a request without a body."""
    return request(fields, start=start)


# Cases that do not concern a proxy, and why.
_ORIGIN = "the origin server decides the response"
_FORWARDED = "any method is forwarded; the origin server decides whether it is allowed"
_UPGRADE = "any upgrade is forwarded; the origin server decides whether it is granted"
NOT_USABLE = {
    "COMP-METHOD-CONNECT": "CONNECT with the routing field is served; the corpus expects a refusal",
    "COMP-405-ALLOW": _ORIGIN,
    "COMP-DATE-HEADER": _ORIGIN,
    "COMP-NO-CL-IN-204": _ORIGIN,
    "COMP-OPTIONS-ALLOW": _ORIGIN,
    "COMP-CONTENT-TYPE": _ORIGIN,
    "COMP-RANGE-POST": _ORIGIN,
    "COMP-UNKNOWN-METHOD": _FORWARDED,
    "COMP-METHOD-TRACE": _FORWARDED,
    "COMP-TRACE-WITH-BODY": _FORWARDED,
    "COMP-UPGRADE-POST": _UPGRADE,
    "COMP-UPGRADE-UNKNOWN": _UPGRADE,
    "COMP-UPGRADE-INVALID-VER": _UPGRADE,
}
