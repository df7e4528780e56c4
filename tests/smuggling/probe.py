"""The scored cases of Http11Probe, a public corpus, as far as a proxy has a say in them.

Facts alone are taken from there (https://github.com/MDA2AV/Http11Probe): the ids, what is sent,
and what passes. `probe_framing.py` and `probe_syntax.py` have the cases; here is what one is, and
what an outcome is worth. `bench/probe.py` puts the same cases to other proxies.
"""

from dataclasses import dataclass
from enum import Enum


class CheckResult(Enum):
    """What an outcome is worth: WARN is within the RFC, but not the strictest that it allows."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Probe:
    """One case: its id in the corpus, the RFC and section, and what is sent, step by step.

    `<host>` and `<route>` stand for a host and the routing field's line. `passes` and `warns` are
    statuses; with `may_close`, a close without an answer passes, and with `may_wait` so does
    silence. `one_answer` is for desyncs: whatever is not refused has to be the last on its
    connection. `content` is the body that an upstream has to be given.
    """

    name: str
    rfc: str
    steps: tuple[bytes, ...]
    passes: tuple[int, ...] = (400,)
    warns: tuple[int, ...] = ()
    may_close: bool = True
    may_wait: bool = False
    one_answer: bool = False
    content: bytes | None = None

    def sent(self, host: bytes, route: bytes) -> list[bytes]:
        """Return the steps, spelled out."""
        return [step.replace(b"<host>", host).replace(b"<route>", route) for step in self.steps]

    def verdict(self, statuses: list[int], is_closed: bool) -> CheckResult:
        """Return what these answers are worth, and whether the connection was closed then."""
        if not statuses:
            silent = self.may_close if is_closed else self.may_wait
            return CheckResult.PASS if silent else CheckResult.FAIL
        is_taken = 200 <= statuses[0] < 300
        if self.one_answer and statuses[0] != 400 and (is_taken or 400 in self.passes):
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


# Cases that say nothing about a proxy, and why.
_ORIGIN = "the answer is the origin server's affair"
_PASSED_ON = "any method is passed on; whether it is allowed is the origin server's affair"
_UPGRADE = "any upgrade is passed on; whether it is granted is the origin server's affair"
NOT_USABLE = {
    "COMP-METHOD-CONNECT": "CONNECT with the routing field is served; the corpus wants a refusal",
    "COMP-405-ALLOW": _ORIGIN,
    "COMP-DATE-HEADER": _ORIGIN,
    "COMP-NO-CL-IN-204": _ORIGIN,
    "COMP-OPTIONS-ALLOW": _ORIGIN,
    "COMP-CONTENT-TYPE": _ORIGIN,
    "COMP-RANGE-POST": _ORIGIN,
    "COMP-UNKNOWN-METHOD": _PASSED_ON,
    "COMP-METHOD-TRACE": _PASSED_ON,
    "COMP-TRACE-WITH-BODY": _PASSED_ON,
    "COMP-UPGRADE-POST": _UPGRADE,
    "COMP-UPGRADE-UNKNOWN": _UPGRADE,
    "COMP-UPGRADE-INVALID-VER": _UPGRADE,
}
