"""Times the scan and the rewrite of single heads: python -m bench.micro.heads [PATTERN].

Prints the least and the median nanoseconds per head over many short runs. The least is what the
code costs, the median tells how quiet the machine was. "repeated" is one head again and again,
"unique" heads that differ in the value of one field, none of which comes twice.
"""

import argparse
import statistics
import timeit
from collections.abc import Callable, Sequence
from functools import partial

from bench.load.scenarios import load_scenarios
from cmux_proxy import Limits
from cmux_proxy.http1.head import HeadLimits, RequestHead, ResponseHead
from cmux_proxy.http1.rewrite import plain_request, response
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from cmux_proxy.routing.router import FAMILY_PREFIX, FAMILY_SUFFIX

Step = Callable[[], None]
Prepare = Callable[[int], Step]  # the number of the run -> what is timed

HEADS = 1000
RUNS = 50
_FIRST = 10_000
_LIMITS = Limits()
_REQUESTS = RequestScanner(
    HeadLimits(_LIMITS.request_line, _LIMITS.header_section, _LIMITS.header_fields),
    FAMILY_PREFIX,
    FAMILY_SUFFIX,
)
_RESPONSES = ResponseScanner(
    HeadLimits(_LIMITS.response_head, _LIMITS.response_head, _LIMITS.response_head)
)
_MORE_RESPONSE_FIELDS = {
    "Date": "Sat, 22 Nov 2025 12:00:00 GMT",
    "ETag": '"5f2b8c1e9a7d4036"',
    "Last-Modified": "Fri, 21 Nov 2025 12:00:00 GMT",
    "Cache-Control": "private, max-age=0, must-revalidate",
    "Vary": "Accept-Encoding, Cookie",
    "Content-Encoding": "gzip",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Set-Cookie": "theme=dark; Path=/; HttpOnly; SameSite=Lax",
}


def request_bytes(fields: dict[str, str], count: int) -> bytes:
    """Return a request head; `count` goes into a field."""
    own = {"Host": f"{count}.localhost:8080", "X-Cmux-Port-Internal": "3000"}
    return _head("GET /items/12345 HTTP/1.1", {**own, **fields})


def response_bytes(fields: dict[str, str], count: int) -> bytes:
    """Return a response head; `count` goes into a field."""
    own = {"Server": "nginx", "Content-Type": "text/plain", "Content-Length": f"{count}"}
    return _head("HTTP/1.1 200 OK", {**own, **fields})


def _head(line: str, fields: dict[str, str]) -> bytes:
    lines = [line, *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def scan(scanner: RequestScanner | ResponseScanner, heads: Sequence[bytes]) -> None:
    """Scan each head."""
    step = scanner.scan
    for head in heads:
        step(head, 0)


def rewrite_requests(heads: Sequence[RequestHead]) -> None:
    """Make the bytes that leave of each head."""
    for head in heads:
        plain_request(head, b"")


def rewrite_responses(heads: Sequence[ResponseHead]) -> None:
    """Make the bytes that leave of each head."""
    for head in heads:
        response(head, b"", False, b"")


def scanning(
    scanner: RequestScanner | ResponseScanner, make: Callable[[int], bytes], is_unique: bool
) -> Prepare:
    """Return what prepares the scan of as many heads as one run takes."""

    def prepare(run: int) -> Step:
        first = _FIRST + run * HEADS
        counts = range(first, first + HEADS) if is_unique else [_FIRST] * HEADS
        return partial(scan, scanner, [make(count) for count in counts])

    return prepare


def always(step: Step) -> Prepare:
    """Return what prepares nothing: every run is the same."""

    def prepare(_run: int) -> Step:
        return step

    return prepare


def cases() -> dict[str, Prepare]:
    """Return what is timed; names are coordinates: step, kind, head, sameness."""
    browser = load_scenarios()["get-browser-c64"].fields
    made: dict[str, Prepare] = {}
    for size, asked, answered in (("small", {}, {}), ("browser", browser, _MORE_RESPONSE_FIELDS)):
        ask, answer = partial(request_bytes, asked), partial(response_bytes, answered)
        for sameness in ("repeated", "unique"):
            is_unique = sameness == "unique"
            made[f"scan-request-{size}-{sameness}"] = scanning(_REQUESTS, ask, is_unique)
            made[f"scan-response-{size}-{sameness}"] = scanning(_RESPONSES, answer, is_unique)
        request, reply = _REQUESTS.scan(ask(_FIRST), 0), _RESPONSES.scan(answer(_FIRST), 0)
        if request is not None and reply is not None:
            made[f"rewrite-request-{size}"] = always(partial(rewrite_requests, [request] * HEADS))
            made[f"rewrite-response-{size}"] = always(partial(rewrite_responses, [reply] * HEADS))
    return made


def time_runs(prepare: Prepare) -> list[float]:
    """Return nanoseconds per head, of each run."""
    return [timeit.timeit(prepare(run), number=1) / HEADS * 1e9 for run in range(RUNS)]


def main() -> None:
    """Time every case whose name contains the pattern."""
    parser = argparse.ArgumentParser(prog="heads", description=__doc__.partition("\n")[0])
    parser.add_argument("pattern", nargs="?", default="", help="only names that contain this")
    pattern = parser.parse_args().pattern
    chosen = {name: prepare for name, prepare in sorted(cases().items()) if pattern in name}
    width = max(map(len, chosen), default=0)
    print(f"{'ns per head':{width}}  {'least':>7}  {'median':>7}")
    for name, prepare in chosen.items():
        times = time_runs(prepare)
        print(f"{name:{width}}  {min(times):7.0f}  {statistics.median(times):7.0f}")


if __name__ == "__main__":
    main()
