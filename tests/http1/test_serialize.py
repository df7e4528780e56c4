"""The heads that leave: cuts, additions and replacements, all else byte for byte."""

import pytest

from cmux_proxy.http1.request_target import ForwardTarget
from cmux_proxy.http1.serialize import (
    ADD_CHUNKED,
    ADD_CLOSE,
    ADD_KEEP_ALIVE,
    LAST_CHUNK,
    Edits,
    chunk,
    other_request,
    plain_request,
    response,
)
from tests.helpers.judging import request_head, response_head

GET = b"GET /a?b HTTP/1.1\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def other(
    data: bytes, to: ForwardTarget | None = None, upgrade: bool = False, tail: bytes = b""
) -> bytes:
    return other_request(request_head(data), to, upgrade, b"127.0.0.1:80", tail)


# Requests


def test_a_request_without_cuts_leaves_as_it_came() -> None:
    data = GET + b"host: a\r\nB:  c \r\nb:\r\n\r\n"
    assert plain_request(request_head(data), b"") == data
    assert plain_request(request_head(data + b"next"), b"") == data


def test_cut_lines_do_not_leave() -> None:
    data = GET + b"TE: x\r\nHost: a\r\nX-Cmux-Port-Internal: 1\r\nB: c\r\nConnection: close\r\n\r\n"
    assert plain_request(request_head(data), b"") == GET + b"Host: a\r\nB: c\r\n\r\n"


def test_the_tail_leaves_right_behind_the_head() -> None:
    data = GET + b"Host: a\r\nContent-Length: 5\r\n\r\n"
    assert plain_request(request_head(data + b"hello"), b"hel") == data + b"hel"
    assert other(data + b"hello", tail=b"hel") == data + b"hel"


def test_an_old_request_leaves_in_the_new_version() -> None:
    assert other(b"GET /a?b HTTP/1.0\r\nHost: b\r\nTE: x\r\n\r\n") == GET + b"Host: b\r\n\r\n"


def test_a_request_without_host_gets_the_one_that_is_given() -> None:
    assert (
        other(b"GET /a?b HTTP/1.0\r\nB: c\r\n\r\n") == GET + b"Host: 127.0.0.1:80\r\nB: c\r\n\r\n"
    )


@pytest.mark.parametrize(
    "fields",
    [
        b"Host: old\r\nB: 1\r\nTE: x\r\nC: 2\r\n",
        b"B: 1\r\nhost: old\r\nConnection: close\r\nC: 2\r\n",
        b"TE: x\r\nB: 1\r\nC: 2\r\nHOST:old\r\n",
        b"B: 1\r\nTE: x\r\nHost: old\r\nTE: y\r\nC: 2\r\n",
        b"B: 1\r\nC: 2\r\n",
    ],
)
def test_an_authority_replaces_host_wherever_it_stood(fields: bytes) -> None:
    to = ForwardTarget(b"/new", b"new:1")
    data = b"GET http://new:1/new HTTP/1.1\r\n" + fields + b"\r\n"
    assert other(data, to) == b"GET /new HTTP/1.1\r\nHost: new:1\r\nB: 1\r\nC: 2\r\n\r\n"


def test_an_upgrade_keeps_its_handshake_as_it_came() -> None:
    fields = b"Host: a\r\nupgrade: b\r\nC: 1\r\nConnection:close , Upgrade\r\nUPGRADE: d\r\n\r\n"
    assert other(GET + fields, upgrade=True) == GET + fields


def test_an_upgrade_keeps_nothing_else_of_its_hop() -> None:
    data = GET + b"TE: x\r\nConnection: upgrade\r\nKeep-Alive: 1\r\nUpgrade: b\r\nHost: a\r\n\r\n"
    kept = b"Connection: upgrade\r\nUpgrade: b\r\nHost: a\r\n\r\n"
    assert other(data, upgrade=True) == GET + kept


def test_an_upgrade_that_nominates_has_its_connection_written_anew() -> None:
    data = (
        GET
        + b"Connection: upgrade, x-hop\r\nHost: a\r\nX-Hop: 1\r\nUpgrade: b\r\n"
        + b"connection: keep-alive\r\nupgrade: c\r\nD: 2\r\n\r\n"
    )
    kept = b"Host: a\r\nUpgrade: b\r\nupgrade: c\r\nD: 2\r\nConnection: upgrade\r\n\r\n"
    assert other(data, upgrade=True) == GET + kept


def test_an_upgrade_may_come_in_absolute_form() -> None:
    data = (
        b"GET http://n/ HTTP/1.1\r\nUpgrade: b\r\nHost: a\r\nConnection: upgrade, x\r\nX:\r\n\r\n"
    )
    to = ForwardTarget(b"/", b"n")
    assert other(data, to, upgrade=True) == (
        b"GET / HTTP/1.1\r\nHost: n\r\nUpgrade: b\r\nConnection: upgrade\r\n\r\n"
    )


def test_no_upgrade_loses_the_handshake() -> None:
    data = b"GET /a?b HTTP/1.0\r\nUpgrade: b\r\nHost: a\r\nConnection: upgrade\r\n\r\n"
    assert other(data) == GET + b"Host: a\r\n\r\n"


# Responses


def test_a_response_without_cuts_leaves_as_it_came() -> None:
    data = OK + b"Set-Cookie: a\r\nset-cookie:  b \r\n\r\n"
    assert response(response_head(data + b"body"), b"", False, b"bo") == data + b"bo"


def test_additions_stand_behind_all_other_lines() -> None:
    data = OK + b"TE: x\r\nB: c\r\nConnection: close\r\n\r\n"
    sent = response(response_head(data), ADD_CHUNKED + ADD_CLOSE, False, b"tail")
    assert sent == OK + b"B: c\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\ntail"
    bare = response(response_head(OK + b"\r\n"), ADD_KEEP_ALIVE, False, b"")
    assert bare == OK + b"Connection: keep-alive\r\n\r\n"


def test_the_version_of_a_response_is_ours_and_the_rest_is_not() -> None:
    data = b"HTTP/1.0 299 \xff X\r\nA: HTTP/1.0\r\n\r\n"
    sent = b"HTTP/1.1 299 \xff X\r\nA: HTTP/1.0\r\n\r\n"
    assert response(response_head(data), b"", False, b"") == sent
    assert response(response_head(data), ADD_CLOSE, False, b"x") == (
        sent[:-2] + b"Connection: close\r\n\r\nx"
    )


@pytest.mark.parametrize(
    "fields",
    [
        b"Transfer-Encoding: chunked\r\nB: 1\r\nTE: x\r\nC: 2\r\n",
        b"TE: x\r\nB: 1\r\nC: 2\r\ntransfer-encoding:Chunked\r\n",
        b"Connection: x\r\nB: 1\r\nX: 2\r\nTransfer-Encoding: chunked\r\nX: 3\r\nC: 2\r\n",
    ],
)
def test_unwrapping_drops_the_coding_wherever_it_stands(fields: bytes) -> None:
    head = response_head(OK + fields + b"\r\n")
    assert response(head, b"", True, b"") == OK + b"B: 1\r\nC: 2\r\n\r\n"
    assert b"hunked" in response(head, b"", False, b"")


NEEDS = b"HTTP/1.1 426 Upgrade Required\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: Upgrade, close\r\nUpgrade: TLS/1.3\r\nB: 1\r\nupgrade:websocket\r\n",
        b"Upgrade: TLS/1.3\r\nTE: x\r\nB: 1\r\nX: 2\r\nconnection: x\r\nupgrade:websocket\r\n",
    ],
)
def test_a_426_says_which_protocols_it_requires(fields: bytes) -> None:
    """RFC 9110 section 15.5.22; and section 7.8: Connection names Upgrade."""
    kept = b"Upgrade: TLS/1.3\r\nB: 1\r\nupgrade:websocket\r\nConnection: upgrade\r\n"
    head = response_head(NEEDS + fields + b"\r\n")
    assert response(head, b"", False, b"tail") == NEEDS + kept + b"\r\ntail"
    assert response(head, ADD_CLOSE, False, b"") == NEEDS + kept + ADD_CLOSE + b"\r\n"
    coded = response_head(NEEDS + b"Transfer-Encoding: chunked\r\n" + fields + b"\r\n")
    assert response(coded, ADD_CLOSE, True, b"") == NEEDS + kept + ADD_CLOSE + b"\r\n"


def test_a_426_without_upgrade_gets_none() -> None:
    head = response_head(NEEDS + b"Connection: upgrade\r\nB: 1\r\n\r\n")
    assert response(head, b"", False, b"") == NEEDS + b"B: 1\r\n\r\n"


# Chunks


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 255, 4096])
def test_a_chunk_tells_its_size_in_hexadecimal(size: int) -> None:
    assert chunk(b"x" * size) == f"{size:x}\r\n{'x' * size}\r\n".encode()


def test_chunks_are_read_as_what_they_were_made_of() -> None:
    from cmux_proxy.http1.body import ChunkedBody
    from tests.helpers.judging import CHUNKS

    body = ChunkedBody(CHUNKS, unwrap=True)
    assert (
        body.feed(chunk(b"hello") + chunk(b"\r\n0\r\n\r\n") + LAST_CHUNK, 0)
        == b"hello\r\n0\r\n\r\n"
    )
    assert body.is_done
    assert body.rest == b""


def test_edits_replace_lines_and_the_host_and_leave_all_else() -> None:
    edits = Edits(b"new")
    edits.replace(b"Origin", b"http://new")
    edits.drop += (b"x-a", b"te")
    head = request_head(
        GET + b"A: 1\r\norigin: x\r\nX-A: 1\r\nHost: old\r\nTE: x\r\nx-a: 2\r\nX-AB: 3\r\n\r\n"
    )
    lines = b"A: 1\r\nX-AB: 3\r\nOrigin: http://new\r\n\r\n"
    assert other_request(head, None, False, b"", b"body", edits) == (
        GET + b"Host: new\r\n" + lines + b"body"
    )
    to = ForwardTarget(b"/t", b"of-target")
    assert other_request(head, to, False, b"", b"", edits) == (
        b"GET /t HTTP/1.1\r\nHost: new\r\n" + lines
    )


def test_edits_that_only_add_stand_behind_what_travels_on() -> None:
    data = GET + b"Host: a\r\nConnection: b\r\nB: c\r\nTE: trailers\r\nC: d\r\n\r\n"
    edits = Edits(None)
    edits.added = b"D: e\r\n"
    assert edits.only_adds()
    sent = other_request(request_head(data), None, False, b"", b"hi", edits)
    plain = plain_request(request_head(data), b"")
    assert sent == plain[:-2] + b"D: e\r\n\r\nhi"


def test_edits_that_drop_or_name_a_host_do_not_only_add() -> None:
    replacing, hosting, stripping = Edits(None), Edits(b"a"), Edits(None)
    replacing.replace(b"A", b"b")
    stripping.lookalikes = (b"a-b",)
    assert not any(edits.only_adds() for edits in (replacing, hosting, stripping))


def test_edits_drop_names_that_are_spelled_with_an_underscore() -> None:
    edits = Edits(None)
    edits.lookalikes = (b"x-real-ip", b"forwarded")
    head = request_head(
        GET + b"X_Real-IP: 1\r\nHost: a\r\nx-real_ip: 2\r\nX-Real-IP: 3\r\nX_REAL_IP: 4\r\n"
        b"X_Real: 5\r\nX__Real_IP: 6\r\nForwarded: 7\r\n\r\n"
    )
    assert other_request(head, None, False, b"", b"", edits) == (
        GET + b"Host: a\r\nX-Real-IP: 3\r\nX_Real: 5\r\nX__Real_IP: 6\r\nForwarded: 7\r\n\r\n"
    )


def test_facts_are_not_changed_by_what_is_made_of_them() -> None:
    """Facts are remembered, so the next head with the same section must find them as they were."""
    fields = b"Host: a\r\nConnection: upgrade, x\r\nUpgrade: b\r\nX: 1\r\n\r\n"
    head = request_head(GET + fields)
    before = (head.spans().cuts, head.spans().handshake, head.plain)
    first = other_request(head, ForwardTarget(b"/", b"n"), True, b"", b"")
    assert other_request(head, ForwardTarget(b"/", b"n"), True, b"", b"") == first
    assert (head.spans().cuts, head.spans().handshake, head.plain) == before
