"""The file with the local authority, in the user's state directory; made by the first who needs it.

The directory and the file must belong to their user alone: who has the key can issue certificates.
Several processes that start at the same time get the same authority. Does not know what it issues.
Neighbours: `net/tls_authority.py` makes it, `tls_local.py` serves with it.
"""

import contextlib
import os
import stat
from collections.abc import Sequence
from typing import Final, NoReturn

from cmux_proxy.config.state_directory import find_state_directory, write_private_file
from cmux_proxy.errors import CertificateError
from cmux_proxy.net.tls_authority import Authority

_FIELD: Final = "tls.source"
_AGAIN: Final = "start again, and run: cmux-proxy trust"


def state_directory() -> str:
    """Return the directory of this user's state, of the XDG specification; it may not exist yet."""
    directory = find_state_directory()
    if directory is None:
        _fail("this user has no home directory; set XDG_STATE_HOME to a directory")
    return directory


class AuthorityFile:
    """The files of an authority in a directory: `path` has its key, `certificate_path` has not."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.path = os.path.join(directory, "authority.key")
        self.certificate_path = os.path.join(directory, "authority.pem")

    def exists(self) -> bool:
        """Return whether there is an authority, or something in its place."""
        return os.path.lexists(self.path)

    def read(self) -> Authority:
        """Return the authority, whatever it covers; raise CertificateError."""
        _require_private(self._directory, "chmod 700")
        _require_private(self.path, "chmod 600")
        return self._parse()

    def load(self, domains: Sequence[str]) -> Authority:
        """Return the authority; raise CertificateError, also if it does not cover the domains."""
        authority = self.read()
        where = f"the authority in {self.path}"
        replace = f"remove it with: cmux-proxy trust --remove; then {_AGAIN}"
        if authority.has_expired():
            _fail(f"{where} has expired; {replace}")
        missing = [domain for domain in domains if not authority.covers(domain)]
        if missing:
            _fail(f"{where} cannot issue for {', '.join(missing)}; {replace}")
        return authority

    def load_or_make(self, domains: Sequence[str]) -> tuple[Authority, bool]:
        """Return the authority, and whether it is new; raise CertificateError."""
        is_new = False
        try:
            if not self.exists():
                is_new = self._make(domains)
            authority = self.load(domains)
            self._publish(authority.certificate_pem())
        except OSError as error:
            _fail(f"cannot write the authority in {self._directory}: {error.strerror}")
        return authority, is_new

    def remove(self) -> None:
        """Remove the files; raise OSError."""
        for path in (self.path, self.certificate_path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _parse(self) -> Authority:
        try:
            with open(self.path, "rb") as file:
                return Authority.from_pem(file.read())
        except (OSError, ValueError, TypeError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())
            where = f"the authority in {self.path} cannot be used: {reason}"
            raise CertificateError(_FIELD, f"{where}; delete the file, {_AGAIN}") from None

    def _make(self, domains: Sequence[str]) -> bool:
        """Make an authority unless another process is first; return whether it is ours."""
        os.makedirs(os.path.dirname(self._directory), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._directory, 0o700)
        _require_private(self._directory, "chmod 700")
        temporary = write_private_file(self._directory, Authority.make(domains).to_pem())
        try:
            # Unlike a rename, this fails if there is one already.
            os.link(temporary, self.path)
        except FileExistsError:
            return False
        finally:
            os.unlink(temporary)
        return True

    def _publish(self, certificate: bytes) -> None:
        """Write the certificate for those who trust it, if it is not there."""
        with contextlib.suppress(FileNotFoundError), open(self.certificate_path, "rb") as file:
            if file.read() == certificate:
                return
        os.replace(write_private_file(self._directory, certificate), self.certificate_path)


def _require_private(path: str, remedy: str) -> None:
    try:
        status = os.stat(path)
    except OSError as error:
        _fail(f"cannot read {path}: {error.strerror}; {_AGAIN}")
    if status.st_uid != os.geteuid():
        _fail(f"{path} belongs to another user; run as that user, or set XDG_STATE_HOME")
    if stat.S_IMODE(status.st_mode) & 0o077:
        _fail(f"other users may access {path}; run: {remedy} {path}")


def _fail(reason: str) -> NoReturn:
    raise CertificateError(_FIELD, reason) from None
