"""The certificates of a local authority: which one a client gets, and how long it is kept."""

import gc
import os
import ssl
from collections.abc import Callable
from functools import partial

import pytest

from cmux_proxy.net.tls_authority import Authority
from cmux_proxy.net.tls_contexts import configure_context
from cmux_proxy.net.tls_leaves import MAX_LEAVES, LeafTable
from tests.helpers.tls import TlsPeer
from tests.net.test_tls_contexts import shake_hands

DAY = 24 * 3600.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make(["example.dev"])


class Clock:
    """A clock that a test turns on; seconds since 1970."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(authority: Authority) -> Clock:
    return Clock(authority.certificate.not_valid_before_utc.timestamp() + DAY)


NewTable = Callable[..., LeafTable]


@pytest.fixture
def new_table(authority: Authority, clock: Clock) -> NewTable:
    configure = partial(configure_context, protocols=["h2", "http/1.1"], clients=None)
    return partial(LeafTable, authority, ["example.dev"], configure, now=clock)


def client_of(authority: Authority, *protocols: str) -> ssl.SSLContext:
    """Return a client that trusts the authority and nothing else."""
    context = ssl.create_default_context(cadata=authority.certificate_pem().decode())
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def names_for(authority: Authority, server: ssl.SSLContext, asked: str | None) -> set[str]:
    """Return the names in the certificate for a server name; the client checks all but the name."""
    client = client_of(authority)
    client.check_hostname = False
    _, end = shake_hands(server, client, asked)
    assert end.error is None
    return {str(entry[1]) for entry in (end.session.getpeercert() or {})["subjectAltName"]}


DEFAULT = {"localhost", "127.0.0.1", "0:0:0:0:0:0:0:1"}


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("3000.localhost", {"3000.localhost"}),
        ("WS-1-3000.Localhost", {"ws-1-3000.localhost"}),
        ("3000.example.dev", {"3000.example.dev"}),
        ("example.dev", {"example.dev"}),
        ("localhost", DEFAULT),
        (None, DEFAULT),
        ("bank.example", DEFAULT),
        ("notexample.dev", DEFAULT),
    ],
)
def test_the_server_name_chooses(
    authority: Authority, new_table: NewTable, asked: str | None, got: set[str]
) -> None:
    server = new_table().make_default().context
    assert names_for(authority, server, asked) == got
    # Again, of memory.
    assert names_for(authority, server, asked) == got


@pytest.mark.parametrize("asked", ["3000.localhost", "localhost", "127.0.0.1", "::1", "127.18.0.7"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_checks_everything_accepts_it(
    authority: Authority, new_table: NewTable, asked: str, version: ssl.TLSVersion
) -> None:
    server = new_table(addresses=["127.18.0.7"]).make_default().context
    client = client_of(authority, "h2")
    client.maximum_version = version
    _, end = shake_hands(server, client, asked)
    assert end.is_open
    assert end.session.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize("asked", ["bank.example", "127.0.0.2", "192.0.2.1"])
def test_a_client_that_asks_for_another_name_refuses(
    authority: Authority, new_table: NewTable, asked: str
) -> None:
    _, end = shake_hands(new_table().make_default().context, client_of(authority), asked)
    assert end.error is not None
    assert "certificate is not valid for" in str(end.error)


def test_a_client_refuses_a_name_outside_the_constraints(authority: Authority) -> None:
    table = LeafTable(authority, ["bank.example"], lambda _context: None)
    server = table.make_default().context
    _, end = shake_hands(server, client_of(authority), "3000.localhost")
    assert end.error is None
    _, end = shake_hands(server, client_of(authority), "bank.example")
    assert isinstance(end.error, ssl.SSLCertVerificationError)
    assert end.error.verify_message == "permitted subtree violation"


@pytest.mark.parametrize(
    ("name", "is_found"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("192.0.2.1", False),
        ("3000.localhost.", True),
        ("", False),
        (".localhost", False),
        ("a..localhost", False),
        ("*.localhost", False),
        ("a/b.localhost", False),
        ("a" * 64 + ".localhost", False),
        ("b." * 125 + "localhost", False),
        ("\x7f.localhost", False),
    ],
)
def test_names_that_are_none_get_the_default(
    new_table: NewTable, name: str, is_found: bool
) -> None:
    assert (new_table().find(name) is not None) == is_found


def test_the_least_recently_used_names_are_forgotten(new_table: NewTable) -> None:
    table = new_table()
    first = table.find("first.localhost")
    second = table.find("second.localhost")
    for number in range(MAX_LEAVES - 2):
        assert table.find(f"{number}.localhost") is not None
    # All have room; the first is asked for again.
    assert table.find("first.localhost") is first
    table.find("one-too-many.localhost")
    assert table.find("first.localhost") is first
    assert table.find("second.localhost") is not second


def test_a_certificate_is_renewed_before_it_ends(new_table: NewTable, clock: Clock) -> None:
    table = new_table()
    default = table.make_default()
    first = table.find("3000.localhost")
    assert default.renew_at == pytest.approx(clock() + 60 * DAY, abs=3600)
    clock.seconds += 59 * DAY
    assert table.find("3000.localhost") is first
    clock.seconds += 2 * DAY
    renewed = table.find("3000.localhost")
    assert renewed is not first
    assert table.find("3000.localhost") is renewed


def test_a_session_is_resumed_under_its_name(authority: Authority, new_table: NewTable) -> None:
    server, client = new_table().make_default().context, client_of(authority)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client.maximum_version = version
        _, first = shake_hands(server, client, "3000.localhost")
        resuming = TlsPeer(client, False, "3000.localhost", first.session.session)
        end = TlsPeer(server, True)
        resuming.take(b"")
        for _ in range(4):
            end.take(resuming.outgoing())
            resuming.take(end.outgoing())
        assert resuming.session.session_reused, version


def test_without_descriptors_the_handshake_fails_and_nothing_else(
    authority: Authority, new_table: NewTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    server = new_table().make_default().context
    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe", fail)
        end, _ = shake_hands(server, client_of(authority), "3000.localhost")
        assert end.error is not None
    end, _ = shake_hands(server, client_of(authority), "3000.localhost")
    assert end.is_open


def test_no_descriptor_stays_open_and_a_replaced_default_is_freed(new_table: NewTable) -> None:
    table = new_table()
    table.find("warm-up.localhost")
    before = len(os.listdir("/dev/fd"))
    for number in range(20):
        table.find(f"{number}.localhost")
    assert len(os.listdir("/dev/fd")) == before
    gc.collect()
    gc.disable()
    try:
        count = sum(isinstance(one, ssl.SSLContext) for one in gc.get_objects())
        for _ in range(5):
            table.make_default()
        assert sum(isinstance(one, ssl.SSLContext) for one in gc.get_objects()) == count
    finally:
        gc.enable()
