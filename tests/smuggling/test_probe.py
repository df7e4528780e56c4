"""Every usable case of Http11Probe, through the proxy, to a vulnerable upstream."""

from collections import Counter

import pytest

from tests.helpers.lenient import FramingPreference
from tests.helpers.timing import soon
from tests.smuggling.probe import NOT_USABLE, CheckResult, Probe
from tests.smuggling.probe_framing import FRAMING
from tests.smuggling.probe_syntax import SYNTAX
from tests.smuggling.world import World, plain_request, statuses, world

CASES = [*FRAMING, *SYNTAX]
ROUTE = b"X-Cmux-Port-Internal: 1\r\n"
# The corpus prefers a refusal; by RFC 9110 or the contract, the proxy forwards these.
FORWARDED = {
    "SMUG-CL-LEADING-ZEROS",
    "SMUG-CL-TRAILING-SPACE",
    "SMUG-CL-EXTRA-LEADING-SP",
    "SMUG-CL-DOUBLE-ZERO",
    "SMUG-CL-LEADING-ZEROS-OCTAL",
    "MAL-CL-TAB-BEFORE-VALUE",
    "NORM-UNDERSCORE-CL",
    "NORM-UNDERSCORE-TE",
    "COMP-LEADING-CRLF",
    "COMP-GET-WITH-CL-BODY",
    "COMP-HTTP10-NO-HOST",
    "COMP-HTTP12-VERSION",
    "COMP-DUPLICATE-CT",
    "MAL-URL-PERCENT-NULL",
    "MAL-URL-PERCENT-CRLF",
}


def ids(case: Probe) -> str:
    return case.name


async def outcome(on: World, case: Probe) -> tuple[list[int], bool]:
    """Return the statuses of the responses, and whether the connection closed after the case."""
    data = b"".join(case.sent(b"a.example", ROUTE))
    next_request = b"" if case.may_wait else plain_request(b"/next")
    with await on.connect() as wire:
        await soon(wire.send(on.routed(data + next_request)))
        wire.end()
        got = statuses(await soon(wire.receive_all()))
    is_served = any(request.target == "/next" for request in on.upstream.requests)
    return (got[:-1] if is_served else got), not is_served


@pytest.mark.parametrize("case", CASES, ids=ids)
async def test_a_case_of_the_public_corpus_passes(case: Probe) -> None:
    async with world(FramingPreference()) as on:
        got, is_closed = await outcome(on, case)
        verdict = case.verdict(got, is_closed)
        assert verdict is (CheckResult.WARN if case.name in FORWARDED else CheckResult.PASS), got
        if case.content is not None:
            assert on.upstream.requests[0].body == case.content
        await on.other(b"/after")


@pytest.mark.parametrize("case", CASES, ids=ids)
async def test_no_upstream_receives_a_hidden_request(case: Probe) -> None:
    async with world(FramingPreference()) as on:
        got, is_closed = await outcome(on, case)
        is_refused = not got or got[0] >= 400
        max_requests = 0 if is_refused and not case.may_wait else 1
        targets = [request.target for request in on.upstream.requests]
        assert len(targets) <= max_requests + (not is_closed)
        await on.other(b"/after")


def test_the_corpus_is_complete() -> None:
    """It scores 164 cases; each case that is left out has a reason."""
    names = Counter(case.name for case in CASES)
    assert names.most_common(1)[0][1] == 1
    assert len(CASES) == 151
    assert len(names.keys() | NOT_USABLE.keys()) == 164


@pytest.mark.parametrize(
    ("case", "responses", "is_closed", "verdict"),
    [
        (Probe("a", "", ()), [400], True, CheckResult.PASS),
        (Probe("a", "", ()), [200], False, CheckResult.FAIL),
        (Probe("a", "", ()), [], True, CheckResult.PASS),
        (Probe("a", "", ()), [], False, CheckResult.FAIL),
        (Probe("a", "", (), may_close=False), [], True, CheckResult.FAIL),
        (Probe("a", "", (), may_wait=True), [], False, CheckResult.PASS),
        (Probe("a", "", (), warns=(200,)), [200], False, CheckResult.WARN),
        (Probe("a", "", (), one_response=True), [200], False, CheckResult.FAIL),
        (Probe("a", "", (), one_response=True), [200], True, CheckResult.PASS),
        (Probe("a", "", (), one_response=True), [200, 200], True, CheckResult.FAIL),
    ],
)
def test_a_result_has_its_score(
    case: Probe, responses: list[int], is_closed: bool, verdict: CheckResult
) -> None:
    assert case.verdict(responses, is_closed) is verdict
