"""How this machine reaches itself."""

import pytest

from cmux_proxy.net.loopback import is_loopback, reached_host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True), ("127.9.8.7", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("localhost", True), ("0.0.0.0", False), ("::", False), ("12.7.0.1", False),
        ("2001:db8::1", False), ("localhost.example", False),
    ],
)  # fmt: skip
def test_an_address_is_known_to_lead_to_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    ("bound", "host"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.1", "192.0.2.1"), ("::1", "::1")],
)
def test_a_wildcard_is_reached_at_the_loopback_of_its_family(bound: str, host: str) -> None:
    assert reached_host(bound) == host
