"""What leaves is read in one way only, by the strictest and by the laxest of readers."""

import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.errors import RouteRefused
from cmux_proxy.http1.delivery import WRAP
from cmux_proxy.http1.errors import BadMessage
from cmux_proxy.http1.framing import CHUNKED, UNTIL_CLOSE
from tests.helpers.cases import Case, names, read_cases
from tests.helpers.grammars import (
    CONTESTED_REQUESTS,
    CONTESTED_RESPONSES,
    mutated,
    requests,
    responses,
)
from tests.helpers.judging import judge_request, judge_response, request_head

NEW = request_head(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
OLD = request_head(b"GET / HTTP/1.0\r\n\r\n")

_ANY_WHITE_SPACE = b" \t\x0b\x0c\x00\x85\xa0"


@dataclass
class LaxReader:
    """Reads a head as the most forgiving of servers would: what it finds, ours must have meant.

    Lines end in CR, LF or both; white space of any kind around names and values means nothing;
    folded lines are joined; a list is as good as several lines.
    """

    lengths: list[bytes] = field(default_factory=list)
    codings: list[bytes] = field(default_factory=list)
    hosts: list[bytes] = field(default_factory=list)
    ports: list[bytes] = field(default_factory=list)

    def __init__(self, head: bytes) -> None:
        found: dict[bytes, list[bytes]] = {}
        unfolded = re.sub(rb"(?:\r\n|\r|\n)[ \t]+", b" ", head)
        for line in re.split(rb"\r\n|\r|\n", unfolded)[1:]:
            name, _, value = line.partition(b":")
            key = name.strip(_ANY_WHITE_SPACE).lower()
            found.setdefault(key, []).extend(
                item.strip(_ANY_WHITE_SPACE) for item in value.split(b",")
            )
        self.lengths = found.get(b"content-length", [])
        self.codings = found.get(b"transfer-encoding", [])
        self.hosts = found.get(b"host", [])
        self.ports = found.get(b"x-cmux-port-internal", [])


def assert_one_framing(lax: LaxReader, framing: int) -> None:
    assert len(lax.lengths) + len(lax.codings) <= 1
    if framing == CHUNKED:
        assert [coding.lower() for coding in lax.codings] == [b"chunked"]
    elif framing == UNTIL_CLOSE:
        assert lax.lengths == lax.codings == []
    else:
        assert lax.codings == []
        assert all(length.isdigit() and int(length) == framing for length in lax.lengths)
        assert lax.lengths or framing == 0


def check_request(data: bytes) -> bool:
    """Return whether the request is accepted; what is sent on must have one reading then."""
    try:
        judged = judge_request([data])
    except (BadMessage, RouteRefused):
        return False
    if judged is None or judged.head.method == b"CONNECT":
        return False
    end = judged.forwarded.index(b"\r\n\r\n") + 4
    lax = LaxReader(judged.forwarded[:end])
    assert_one_framing(lax, judged.framing)
    assert len(lax.hosts) == 1
    assert lax.ports == []
    assert judged.forwarded.split(b"\r\n")[0].count(b" ") == 2
    return True


def check_response(data: bytes, to_old_client: bool) -> bool:
    """Return whether the response is accepted; what is sent on must have one reading then."""
    try:
        judged = judge_response(OLD if to_old_client else NEW, [data])
    except BadMessage:
        return False
    if judged is None or judged.status < 200 or judged.status in (204, 304):
        return False
    framing = judged.framing
    if judged.how & WRAP:
        framing = CHUNKED
    elif framing == CHUNKED and to_old_client:
        framing = UNTIL_CLOSE
    assert_one_framing(LaxReader(judged.head), framing)
    return True


@given(mutated(requests()))
def test_a_request_that_is_sent_on_has_one_reading(data: bytes) -> None:
    check_request(data)


def test_a_request_with_contested_framing_has_one_reading_or_none() -> None:
    accepted = [data for data in CONTESTED_REQUESTS if check_request(data)]
    assert accepted


def test_a_response_with_contested_framing_has_one_reading_or_none() -> None:
    for to_old_client in (False, True):
        accepted = [data for data in CONTESTED_RESPONSES if check_response(data, to_old_client)]
        assert accepted


@given(requests())
def test_requests_that_nothing_is_wrong_with_are_sent_on(data: bytes) -> None:
    assert check_request(data)


@given(mutated(responses()), st.booleans())
def test_a_response_that_is_sent_on_has_one_reading(data: bytes, to_old_client: bool) -> None:
    check_response(data, to_old_client)


@given(responses(), st.booleans())
def test_responses_that_nothing_is_wrong_with_are_sent_on(data: bytes, to_old_client: bool) -> None:
    assert check_response(data, to_old_client)


REQUESTS = read_cases("requests/valid")


@pytest.mark.parametrize("case", REQUESTS, ids=names(REQUESTS))
def test_every_valid_request_of_the_corpus_has_one_reading(case: Case) -> None:
    assert check_request(case.data) is not case.data.startswith(b"CONNECT")


def test_the_lax_reader_is_lax() -> None:
    """It finds what attacks hide, or this file would prove nothing."""
    hidden = (
        b"Content-Length : 5\r\n",
        b"A: 1\nContent-Length: 5\r\n",
        b"A: 1\rContent-Length: 5\r\n",
        b"\x00CONTENT-LENGTH: 5\r\n",
        b"Content-Length:\r\n 5\r\n",
        b"Content-Length: 5, 5\r\n",
    )
    for line in hidden:
        lax = LaxReader(b"GET / HTTP/1.1\r\n" + line + b"Transfer-Encoding: \x0bchunked\r\n\r\n")
        assert set(lax.lengths) >= {b"5"}
        assert lax.codings == [b"chunked"]
        with pytest.raises(AssertionError):
            assert_one_framing(lax, 5)
