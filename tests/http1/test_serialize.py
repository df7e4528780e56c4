"""The heads to send: without cuts, with new lines, and otherwise byte for byte."""

import pytest

from cmux_proxy.http1.request_target import ForwardTarget
from cmux_proxy.http1.serialize import (
    ADD_CHUNKED,
    ADD_CLOSE,
    ADD_KEEP_ALIVE,
    LAST_CHUNK,
    Edits,
    encode_chunk,
    serialize_changed_request,
    serialize_request,
    serialize_response,
    serialize_whole_response,
)
from tests.helpers.judging import request_head, response_head

GET = b"GET /a?b HTTP/1.1\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def changed(
    data: bytes, target: ForwardTarget | None = None, upgrade: bool = False, tail: bytes = b""
) -> bytes:
    return serialize_changed_request(request_head(data), target, upgrade, b"127.0.0.1:80", tail)


# Requests


def test_a_request_without_cuts_is_sent_unchanged() -> None:
    data = GET + b"host: a\r\nB:  c \r\nb:\r\n\r\n"
    assert serialize_request(request_head(data), b"") == data
    assert serialize_request(request_head(data + b"next"), b"") == data


def test_cut_lines_are_not_sent() -> None:
    data = GET + b"TE: x\r\nHost: a\r\nX-Cmux-Port-Internal: 1\r\nB: c\r\nConnection: close\r\n\r\n"
    assert serialize_request(request_head(data), b"") == GET + b"Host: a\r\nB: c\r\n\r\n"


def test_the_tail_is_sent_right_after_the_head() -> None:
    data = GET + b"Host: a\r\nContent-Length: 5\r\n\r\n"
    assert serialize_request(request_head(data + b"hello"), b"hel") == data + b"hel"
    assert changed(data + b"hello", tail=b"hel") == data + b"hel"


def test_an_http10_request_is_sent_as_http11() -> None:
    assert changed(b"GET /a?b HTTP/1.0\r\nHost: b\r\nTE: x\r\n\r\n") == GET + b"Host: b\r\n\r\n"


def test_a_request_without_host_gets_the_default_host() -> None:
    assert (
        changed(b"GET /a?b HTTP/1.0\r\nB: c\r\n\r\n") == GET + b"Host: 127.0.0.1:80\r\nB: c\r\n\r\n"
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
def test_an_authority_replaces_host_wherever_it_was(fields: bytes) -> None:
    target = ForwardTarget(b"/new", b"new:1")
    data = b"GET http://new:1/new HTTP/1.1\r\n" + fields + b"\r\n"
    assert changed(data, target) == b"GET /new HTTP/1.1\r\nHost: new:1\r\nB: 1\r\nC: 2\r\n\r\n"


def test_an_upgrade_keeps_its_fields_unchanged() -> None:
    fields = b"Host: a\r\nupgrade: b\r\nC: 1\r\nConnection:close , Upgrade\r\nUPGRADE: d\r\n\r\n"
    assert changed(GET + fields, upgrade=True) == GET + fields


def test_an_upgrade_keeps_no_other_hop_by_hop_field() -> None:
    data = GET + b"TE: x\r\nConnection: upgrade\r\nKeep-Alive: 1\r\nUpgrade: b\r\nHost: a\r\n\r\n"
    kept = b"Connection: upgrade\r\nUpgrade: b\r\nHost: a\r\n\r\n"
    assert changed(data, upgrade=True) == GET + kept


def test_connection_is_written_again_if_it_nominates_fields() -> None:
    data = (
        GET
        + b"Connection: upgrade, x-hop\r\nHost: a\r\nX-Hop: 1\r\nUpgrade: b\r\n"
        + b"connection: keep-alive\r\nupgrade: c\r\nD: 2\r\n\r\n"
    )
    kept = b"Host: a\r\nUpgrade: b\r\nupgrade: c\r\nD: 2\r\nConnection: upgrade\r\n\r\n"
    assert changed(data, upgrade=True) == GET + kept


def test_an_upgrade_may_come_in_absolute_form() -> None:
    data = (
        b"GET http://n/ HTTP/1.1\r\nUpgrade: b\r\nHost: a\r\nConnection: upgrade, x\r\nX:\r\n\r\n"
    )
    target = ForwardTarget(b"/", b"n")
    assert changed(data, target, upgrade=True) == (
        b"GET / HTTP/1.1\r\nHost: n\r\nUpgrade: b\r\nConnection: upgrade\r\n\r\n"
    )


def test_without_upgrade_its_fields_are_cut() -> None:
    data = b"GET /a?b HTTP/1.0\r\nUpgrade: b\r\nHost: a\r\nConnection: upgrade\r\n\r\n"
    assert changed(data) == GET + b"Host: a\r\n\r\n"


# Responses


def test_a_response_without_cuts_is_sent_unchanged() -> None:
    data = OK + b"Set-Cookie: a\r\nset-cookie:  b \r\n\r\n"
    assert serialize_response(response_head(data + b"body"), b"", False, b"bo") == data + b"bo"


def test_new_lines_come_after_all_other_lines() -> None:
    data = OK + b"TE: x\r\nB: c\r\nConnection: close\r\n\r\n"
    sent = serialize_response(response_head(data), ADD_CHUNKED + ADD_CLOSE, False, b"tail")
    assert sent == OK + b"B: c\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\ntail"
    bare = serialize_response(response_head(OK + b"\r\n"), ADD_KEEP_ALIVE, False, b"")
    assert bare == OK + b"Connection: keep-alive\r\n\r\n"


def test_only_the_version_of_a_status_line_is_changed() -> None:
    data = b"HTTP/1.0 299 \xff X\r\nA: HTTP/1.0\r\n\r\n"
    sent = b"HTTP/1.1 299 \xff X\r\nA: HTTP/1.0\r\n\r\n"
    assert serialize_response(response_head(data), b"", False, b"") == sent
    assert serialize_response(response_head(data), ADD_CLOSE, False, b"x") == (
        sent[:-2] + b"Connection: close\r\n\r\nx"
    )


@pytest.mark.parametrize("added", [b"", ADD_CLOSE])
@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("status", [200, 426])
def test_a_whole_response_is_sent_in_one_piece(added: bytes, minor: int, status: int) -> None:
    start = b"HTTP/1.%d %d X\r\n" % (minor, status)
    fields = b"Connection: upgrade\r\nUpgrade: a\r\nContent-Length: 2\r\n\r\n"
    head = response_head(start + fields + b"ab")
    sent = serialize_whole_response(head, added, False)
    assert sent == serialize_response(head, added, False, b"ab")
    assert sent.startswith(b"HTTP/1.1 ")
    assert sent.endswith(added + b"\r\nab")


def test_a_whole_response_without_a_change_is_not_joined_again() -> None:
    data = OK + b"Content-Length: 2\r\n\r\nab"
    head = response_head(data)
    assert serialize_whole_response(head, b"", False) is head.spliced == data


def test_a_coding_is_removed_from_a_whole_response() -> None:
    head = response_head(OK + b"Transfer-Encoding: chunked\r\nB: 1\r\n\r\n")
    assert serialize_whole_response(head, b"", True) == OK + b"B: 1\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"Transfer-Encoding: chunked\r\nB: 1\r\nTE: x\r\nC: 2\r\n",
        b"TE: x\r\nB: 1\r\nC: 2\r\ntransfer-encoding:Chunked\r\n",
        b"Connection: x\r\nB: 1\r\nX: 2\r\nTransfer-Encoding: chunked\r\nX: 3\r\nC: 2\r\n",
    ],
)
def test_unwrapping_removes_the_coding_wherever_it_is(fields: bytes) -> None:
    head = response_head(OK + fields + b"\r\n")
    assert serialize_response(head, b"", True, b"") == OK + b"B: 1\r\nC: 2\r\n\r\n"
    assert b"hunked" in serialize_response(head, b"", False, b"")


NEEDS = b"HTTP/1.1 426 Upgrade Required\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"Connection: Upgrade, close\r\nUpgrade: TLS/1.3\r\nB: 1\r\nupgrade:websocket\r\n",
        b"Upgrade: TLS/1.3\r\nTE: x\r\nB: 1\r\nX: 2\r\nconnection: x\r\nupgrade:websocket\r\n",
    ],
)
def test_a_426_keeps_its_upgrade(fields: bytes) -> None:
    """RFC 9110 section 15.5.22; and section 7.8: Connection names Upgrade."""
    kept = b"Upgrade: TLS/1.3\r\nB: 1\r\nupgrade:websocket\r\nConnection: upgrade\r\n"
    head = response_head(NEEDS + fields + b"\r\n")
    assert serialize_response(head, b"", False, b"tail") == NEEDS + kept + b"\r\ntail"
    assert serialize_response(head, ADD_CLOSE, False, b"") == NEEDS + kept + ADD_CLOSE + b"\r\n"
    coded = response_head(NEEDS + b"Transfer-Encoding: chunked\r\n" + fields + b"\r\n")
    assert serialize_response(coded, ADD_CLOSE, True, b"") == NEEDS + kept + ADD_CLOSE + b"\r\n"


def test_a_426_without_upgrade_gets_none() -> None:
    head = response_head(NEEDS + b"Connection: upgrade\r\nB: 1\r\n\r\n")
    assert serialize_response(head, b"", False, b"") == NEEDS + b"B: 1\r\n\r\n"


# Chunks


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 255, 4096])
def test_a_chunk_has_its_size_in_hexadecimal(size: int) -> None:
    assert encode_chunk(b"x" * size) == f"{size:x}\r\n{'x' * size}\r\n".encode()


def test_encoded_chunks_are_read_back() -> None:
    from cmux_proxy.http1.chunked_body import ChunkedBody
    from tests.helpers.judging import CHUNKS

    body = ChunkedBody(CHUNKS, unwrap=True)
    assert (
        body.feed(encode_chunk(b"hello") + encode_chunk(b"\r\n0\r\n\r\n") + LAST_CHUNK, 0)
        == b"hello\r\n0\r\n\r\n"
    )
    assert body.is_done
    assert body.trailing_data == b""


def test_edits_replace_lines_and_the_host_and_keep_the_others() -> None:
    edits = Edits(b"new")
    edits.replace(b"Origin", b"http://new")
    edits.drop += (b"x-a", b"te")
    head = request_head(
        GET + b"A: 1\r\norigin: x\r\nX-A: 1\r\nHost: old\r\nTE: x\r\nx-a: 2\r\nX-AB: 3\r\n\r\n"
    )
    lines = b"A: 1\r\nX-AB: 3\r\nOrigin: http://new\r\n\r\n"
    assert serialize_changed_request(head, None, False, b"", b"body", edits) == (
        GET + b"Host: new\r\n" + lines + b"body"
    )
    target = ForwardTarget(b"/t", b"of-target")
    assert serialize_changed_request(head, target, False, b"", b"", edits) == (
        b"GET /t HTTP/1.1\r\nHost: new\r\n" + lines
    )


def test_lines_that_are_only_added_come_last() -> None:
    data = GET + b"Host: a\r\nConnection: b\r\nB: c\r\nTE: trailers\r\nC: d\r\n\r\n"
    edits = Edits(None)
    edits.added = b"D: e\r\n"
    assert edits.only_adds()
    sent = serialize_changed_request(request_head(data), None, False, b"", b"hi", edits)
    plain = serialize_request(request_head(data), b"")
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
    assert serialize_changed_request(head, None, False, b"", b"", edits) == (
        GET + b"Host: a\r\nX-Real-IP: 3\r\nX_Real: 5\r\nX__Real_IP: 6\r\nForwarded: 7\r\n\r\n"
    )


def test_serializing_does_not_change_the_facts() -> None:
    """Facts are cached, so the next head with the same section gets the same objects."""
    fields = b"Host: a\r\nConnection: upgrade, x\r\nUpgrade: b\r\nX: 1\r\n\r\n"
    head = request_head(GET + fields)
    before = (head.spans().cuts, head.spans().upgrade_lines, head.stripped)
    first = serialize_changed_request(head, ForwardTarget(b"/", b"n"), True, b"", b"")
    assert serialize_changed_request(head, ForwardTarget(b"/", b"n"), True, b"", b"") == first
    assert (head.spans().cuts, head.spans().upgrade_lines, head.stripped) == before
