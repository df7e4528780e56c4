"""Connections that begin with TLS: handshake, deadlines, admission, plain text beside it."""

import logging
from pathlib import Path
from typing import Any

import pytest

from cmux_proxy import Access, Config, Limits, Observability, Rewriting, Tls
from cmux_proxy.net.tls_contexts import TlsServer
from cmux_proxy.observe.observer import Observer
from cmux_proxy.observe.record import Record
from tests.helpers.fakes import FakeStream, World
from tests.helpers.tls import CUTS, TlsPeer, client_context, cut, server_context

GET = b"GET /a?b HTTP/1.1\r\nHost: app.example:8443\r\nX-Cmux-Port-Internal: 3000\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ALERT = b"\x15\x03\x01\x00\x02\x02\x28"


class Site:
    """A proxy with TLS and one client of it; `records` are those of the access log."""

    def __init__(self, plain_text: Any = "allow", asks: bool = False, **config: Any) -> None:
        self.records: list[Record] = []
        observability = Observability(access_log="all")
        observer = Observer(False, self.records.append)
        tls = Tls(certs=["a.pem"], plain_text=plain_text)
        self.world = World(Config(tls=tls, observability=observability, **config), observer)
        self.world.services.tls = TlsServer(server_context("http/1.1", asks=asks))
        self.world.peer = "192.0.2.1"
        self.client = self.world.client()
        self.peer = TlsPeer(client_context("h2", "http/1.1"), False)
        self._passed = 0

    def arrives(self, data: bytes, how: str = "whole") -> None:
        """Let ciphertext of the client arrive."""
        for piece in cut(data, how):
            self.client.arrives(piece)
            self.world.run()
        self.pass_on()

    def pass_on(self) -> None:
        """Give the client what was sent to it."""
        new = self.client.got[self._passed :]
        self._passed = len(self.client.got)
        self.peer.take(new)

    def open(self, how: str = "whole") -> "Site":
        """Shake hands."""
        self.peer.take(b"")
        while outgoing := self.peer.outgoing():
            self.arrives(outgoing, how)
        return self

    def ask(self, request: bytes, how: str = "whole") -> FakeStream:
        """Send a request over the session; return its upstream."""
        self.arrives(self.peer.sends(request), how)
        return self.world.dial().succeeds()


@pytest.mark.parametrize("how", CUTS)
def test_a_request_over_tls_is_served(how: str) -> None:
    site = Site().open(how)
    assert site.peer.session.selected_alpn_protocol() == "http/1.1"
    upstream = site.ask(GET + b"\r\n", how)
    assert upstream.got.startswith(b"GET /a?b HTTP/1.1\r\n")
    upstream.arrives(OK)
    site.pass_on()
    assert site.peer.received == OK
    assert len(site.world.services.registry.clients) == 1
    # The connection is kept.
    site.arrives(site.peer.sends(GET + b"\r\n"))
    upstream.arrives(OK)
    site.pass_on()
    assert site.peer.received == OK * 2
    assert [record.status for record in site.records] == [200, 200]


def test_a_request_with_the_end_of_its_client_right_behind_is_answered() -> None:
    site = Site().open()
    site.arrives(site.peer.sends(GET + b"\r\n") + site.peer.ends())
    site.world.dial().succeeds().arrives(OK)
    site.pass_on()
    assert (bytes(site.peer.received), site.peer.has_got_end) == (OK, True)
    site.world.run()
    assert len(site.world.services.registry) == 0


def test_plain_text_is_served_beside_it() -> None:
    site = Site()
    site.client.arrives(GET + b"\r\n")
    site.world.dial().succeeds().arrives(OK)
    assert site.client.got == OK


def test_the_scheme_is_known_to_the_fields_of_the_request() -> None:
    rewriting = Rewriting(
        forwarded="append", forwarded_rfc7239=True, host_header="upstream", rewrite_origin=True
    )
    site = Site(rewriting=rewriting).open()
    upstream = site.ask(
        GET + b"Origin: https://app.example:8443\r\nReferer: https://app.example:8443/x\r\n\r\n"
    )
    head = upstream.got.split(b"\r\n")
    assert b"X-Forwarded-Proto: https" in head
    assert b'Forwarded: for=192.0.2.1;host="app.example:8443";proto=https' in head
    assert b"Origin: http://localhost:3000" in head
    assert b"Referer: http://localhost:3000/x" in head


def test_an_origin_of_the_other_scheme_stays_over_tls() -> None:
    rewriting = Rewriting(host_header="upstream", rewrite_origin=True)
    site = Site(rewriting=rewriting).open()
    upstream = site.ask(GET + b"Origin: http://app.example:8443\r\n\r\n")
    assert b"Origin: http://app.example:8443" in upstream.got.split(b"\r\n")


# Handshakes that fail


def test_a_client_of_tls_gets_an_alert_where_there_is_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    site.world.services.tls = None
    with caplog.at_level(logging.INFO):
        site.peer.take(b"")
        site.arrives(site.peer.outgoing())
    assert site.client.got == ALERT
    assert site.client.has_sent_end()
    assert site.peer.error is not None
    assert "ALERT_HANDSHAKE_FAILURE" in str(site.peer.error.reason)
    assert "this port speaks plain HTTP; use http://, or start with --tls auto or" in caplog.text
    [record] = site.records
    assert (record.status, record.error, record.client) == (0, "tls_protocol_error", "192.0.2.1")
    site.client.ends()
    site.world.run()
    assert len(site.world.services.registry) == 0


def test_a_failed_handshake_is_logged_and_closed_once_the_client_has_read_the_alert(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site(asks=True)
    with caplog.at_level(logging.INFO):
        site.open()
    assert "192.0.2.1 failed: the client sent no certificate" in caplog.text
    assert site.peer.error is not None
    assert site.client.has_sent_end()
    registry = site.world.services.registry
    assert (len(registry.clients), len(registry.lingering)) == (0, 1)
    [record] = site.records
    assert record.error == "tls_certificate_error"
    site.client.arrives(b"more")
    site.client.ends()
    site.world.run()
    assert len(registry) == 0
    assert site.client.is_lost()


def test_a_client_that_leaves_during_the_handshake_is_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site()
    site.peer.take(b"")
    with caplog.at_level(logging.INFO):
        site.arrives(site.peer.outgoing()[:100])
        site.client.ends()
        site.world.run()
    assert "failed: the peer closed the connection" in caplog.text
    assert site.client.is_lost()
    assert len(site.world.services.registry) == 0


def test_a_connection_that_breaks_during_the_handshake_leaves_the_registry() -> None:
    site = Site()
    site.peer.take(b"")
    site.arrives(site.peer.outgoing()[:100])
    assert len(site.world.services.registry) == 1
    site.client.breaks()
    site.world.run()
    assert len(site.world.services.registry) == 0


def test_a_handshake_has_the_head_timeout(caplog: pytest.LogCaptureFixture) -> None:
    site = Site()
    site.peer.take(b"")
    site.arrives(site.peer.outgoing()[:1])
    site.world.walk(14)
    assert not site.client.is_over()
    with caplog.at_level(logging.INFO):
        site.world.walk(2)
        site.world.walk(2)
    assert site.client.was_aborted()
    assert caplog.text.count("failed: it was not complete in time") == 1


def test_failures_are_logged_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    site = Site()
    log = site.world.services.handshake_log
    with caplog.at_level(logging.INFO):
        for now in (10.0, 10.1, 10.9, 11.0):
            log.report(now, "", f"at {now}")
    assert [record.getMessage() for record in caplog.records] == [
        "TLS handshake with a client failed: at 10.0",
        "TLS handshake with a client failed: at 11.0 (2 more since the last line)",
    ]


def test_tls_within_tls_and_behind_a_request_is_a_bad_request() -> None:
    site = Site().open()
    site.arrives(site.peer.sends(b"\x16\x03\x01"))
    assert site.peer.received.startswith(b"HTTP/1.1 400 ")
    site = Site()
    site.client.arrives(GET + b"\r\n")
    site.world.dial().succeeds().arrives(OK)
    site.client.arrives(b"\x16\x03\x01")
    assert b"HTTP/1.1 400 " in site.client.got


# Drain and admission


def test_a_drain_lets_a_handshake_finish_until_requests_are_refused() -> None:
    site = Site()
    site.peer.take(b"")
    site.arrives(site.peer.outgoing()[:1])
    registry = site.world.services.registry
    registry.is_draining = True
    for connection in list(registry.clients):
        connection.drain()
    assert not site.client.is_over()
    registry.is_refusing = True
    for connection in list(registry.clients):
        connection.drain()
    assert site.client.was_aborted()


def test_a_client_counts_once_during_its_handshake_and_afterwards() -> None:
    site = Site(limits=Limits(clients_per_address=1))
    site.peer.take(b"")
    first = site.peer.outgoing()
    site.arrives(first[:50])
    assert b"503" in site.world.client().got
    site.arrives(first[50:])
    site.open()
    upstream = site.ask(GET + b"\r\n")
    upstream.arrives(OK)
    site.pass_on()
    assert site.peer.received == OK
    assert b"503" in site.world.client().got
    site.arrives(site.peer.ends())
    site.world.run()
    assert b"503" not in site.world.client().got


def test_a_client_of_another_network_gets_no_handshake() -> None:
    site = Site(access=Access(allow_clients=["10.0.0.0/8"]))
    assert b"403" in site.client.got


# Plain text where only TLS is served


@pytest.mark.parametrize(
    ("plain_text", "fields", "status", "location"),
    [
        ("redirect", b"Upgrade-Insecure-Requests: 1\r\n", 308, True),
        ("redirect", b"Sec-Fetch-Mode: navigate\r\n", 308, True),
        ("redirect", b"Sec-Fetch-Mode: cors\r\n", 400, False),
        ("redirect", b"", 400, False),
        ("refuse", b"Upgrade-Insecure-Requests: 1\r\n", 400, False),
        ("refuse", b"", 400, False),
    ],
)
def test_plain_text_is_redirected_or_refused(
    plain_text: str, fields: bytes, status: int, location: bool
) -> None:
    site = Site(plain_text)
    site.client.arrives(GET + fields + b"\r\n")
    head, _, body = site.client.got.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 %d " % status)
    assert (b"Location: https://app.example:8443/a?b" in lines) == location
    assert b"https://app.example:8443/a?b" in body
    assert b"Connection: close" in lines
    assert site.client.has_sent_end()
    assert not site.world.dials
    [record] = site.records
    assert (record.status, record.method, record.path) == (status, "GET", "/a")


@pytest.mark.parametrize("plain_text", ["redirect", "refuse"])
def test_tls_is_served_where_plain_text_is_not(plain_text: str) -> None:
    site = Site(plain_text).open()
    site.ask(GET + b"\r\n").arrives(OK)
    site.pass_on()
    assert site.peer.received == OK


def test_a_request_in_plain_text_is_validated_before_it_is_redirected() -> None:
    for request, status in (
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
    ):
        site = Site("redirect")
        site.client.arrives(request)
        assert site.client.got.startswith(b"HTTP/1.1 " + status)
        assert b"https://" not in site.client.got


def test_other_forms_of_a_target_are_refused_with_a_url() -> None:
    for request, url in (
        (b"CONNECT a.example:443 HTTP/1.1\r\nHost: p.example:1\r\n\r\n", b"https://p.example:1/"),
        (b"GET http://b.example/x HTTP/1.1\r\nHost: a\r\n\r\n", b"https://b.example/x"),
        (b"GET /x HTTP/1.0\r\n\r\n", b"https://HOST/x"),
    ):
        site = Site("refuse")
        site.client.arrives(request)
        assert url in site.client.got


def test_a_redirect_of_head_has_no_body() -> None:
    site = Site("redirect")
    site.client.arrives(GET.replace(b"GET", b"HEAD") + b"Upgrade-Insecure-Requests: 1\r\n\r\n")
    assert site.client.got.startswith(b"HTTP/1.1 308 ")
    assert site.client.got.endswith(b"\r\n\r\n")


def test_the_rule_has_no_effect_without_certificates(tmp_path: Path) -> None:
    assert World().services.plain_text is None
