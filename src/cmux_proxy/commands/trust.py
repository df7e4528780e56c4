"""cmux-proxy trust: lets browsers and the system trust the authority of --tls auto, or removes it.

Each store is named with the commands for it before they are run. What this user may not do is
printed only: nothing is run with `sudo`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cmux_proxy.commands.output import print_line
from cmux_proxy.errors import CertificateError, ConfigError
from cmux_proxy.server.optional_packages import require_packages

if TYPE_CHECKING:
    from cmux_proxy.net.tls_authority import Authority
    from cmux_proxy.server.authority_file import AuthorityFile
    from cmux_proxy.trust.step import Step


@click.command("trust")
@click.option("--remove", is_flag=True, help="Remove it from all stores, and delete its key.")
@click.option(
    "--print", "prints_path", is_flag=True,
    help="Print the path of its certificate only, for programs that take one.",
)  # fmt: skip
@click.pass_context
def trust_command(context: click.Context, remove: bool, prints_path: bool) -> None:
    """Trust the authority of --tls auto, in the stores of the system and of browsers.

    The exit status is 1 if something is left to do by hand.
    """
    file = _authority_file()
    if prints_path:
        _load_existing(file)
        print_line(file.certificate_path)
        return
    if remove:
        is_complete = _remove(file)
    else:
        domains = [] if context.parent is None else context.parent.params["host_suffix"]
        is_complete = _trust(file, [name for names in domains for name in names])
    context.exit(0 if is_complete else 1)


def _authority_file() -> "AuthorityFile":
    """Return the file of this user; raise ClickException without the packages of the extra."""
    try:
        require_packages("tls.source", "tls", ("cryptography",))
    except ConfigError as error:
        raise click.ClickException(error.reason) from None
    from cmux_proxy.server.authority_file import AuthorityFile, state_directory

    return AuthorityFile(state_directory())


def _load_existing(file: "AuthorityFile") -> None:
    if not file.exists():
        raise click.ClickException(
            f"there is no authority in {file.path} yet; start the proxy with --tls auto"
        )
    file.load_or_make([])


def _trust(file: "AuthorityFile", domains: Sequence[str]) -> bool:
    """Add the authority, which is made if there is none; return whether all is done."""
    authority, _ = file.load_or_make(domains)
    names = ", ".join(authority.domains())
    print_line(f"{authority.name()} can issue certificates for these names and those below them,")
    print_line(f"and for loopback addresses, and for nothing else: {names}")
    print_line(f"Its certificate is {file.certificate_path}")
    if _perform(file, authority, is_removal=False):
        print_line("Restart browsers that are running.")
        return True
    return False


def _remove(file: "AuthorityFile") -> bool:
    """Remove the authority, and delete it if no store has it; return whether all is done."""
    if not file.exists():
        print_line(f"There is no authority in {file.path}")
        return True
    if not _perform(file, file.read(), is_removal=True):
        print_line(f"The authority stays in {file.path} until it is removed everywhere.")
        return False
    try:
        file.remove()
    except OSError as error:
        raise CertificateError(
            "tls.source", f"cannot delete {file.path}: {error.strerror}"
        ) from None
    print_line(f"Deleted {file.path}")
    return True


def _perform(file: "AuthorityFile", authority: "Authority", is_removal: bool) -> bool:
    """Change all stores; return whether nothing is left to do by hand."""
    from cmux_proxy.trust.step import Certificate
    from cmux_proxy.trust.stores import steps_for

    certificate = Certificate(file.certificate_path, authority.certificate_pem(), authority.name())
    steps = steps_for(certificate, is_removal)
    if not steps:
        print_line("No store of this system is known.")
    # A list, so that each of them is tried.
    outcomes = [_perform_step(step) for step in steps]
    return all(outcomes) and (is_removal or len(outcomes) > 0)


def _perform_step(step: "Step") -> bool:
    """Say what a step does, then do it, if this user can; return whether it is done."""
    from cmux_proxy.trust.step import Failure

    print_line(f"\n{step.store}")
    if step.is_done():
        print_line("  done already")
        return True
    print_line(f"  {step.by_hand()}")
    reason = step.obstacle
    if not reason:
        try:
            step.run()
        except Failure as failure:
            reason = str(failure)
    print_line(f"  not done: {reason}; run the line above" if reason else "  done")
    return not reason
