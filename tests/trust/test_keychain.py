"""The keychain of macOS, with a fake `security`."""

from cmux_proxy.trust.keychain import keychain_step
from cmux_proxy.trust.step import Certificate
from tests.helpers.fake_programs import FakePrograms

KEYCHAIN = "/Users/a/Library/Keychains/login.keychain-db"


def test_the_certificate_is_added_for_tls_only(
    certificate: Certificate, programs: FakePrograms
) -> None:
    programs.add("security")
    step = keychain_step(certificate, False, programs.find, "/Users/a")
    assert (step.obstacle, step.needs_root, step.is_done()) == ("", False, False)
    step.run()
    assert programs.started() == [
        f"security add-trusted-cert -r trustRoot -p ssl -k {KEYCHAIN} {certificate.path}"
    ]


def test_the_certificate_is_removed_if_it_is_there(
    certificate: Certificate, programs: FakePrograms
) -> None:
    programs.add("security", 'test "$1" != find-certificate || exit 44')
    step = keychain_step(certificate, True, programs.find, "/Users/a")
    assert step.is_done()
    programs.add("security")
    assert not step.is_done()
    step.run()
    assert programs.started()[-2:] == [
        f"security remove-trusted-cert {certificate.path}",
        f"security delete-certificate -c {certificate.name} {KEYCHAIN}",
    ]


def test_a_machine_without_the_program_gets_the_command(
    certificate: Certificate, programs: FakePrograms
) -> None:
    step = keychain_step(certificate, True, programs.find, "/Users/a")
    assert step.obstacle == "security is not installed"
    assert not step.is_done()
    assert step.by_hand().startswith("security remove-trusted-cert ")
    broken = keychain_step(certificate, True, lambda _name: "/no/such", "/Users/a")
    assert not broken.is_done()
