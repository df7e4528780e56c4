"""The TLS contexts of certificates that a local authority issues: one for each server name.

A name is issued for when a client asks for it first, because clients do not accept a wildcard
below localhost. Does not know where the authority is stored: `server/tls_local.py` does.
Neighbours: `tls_authority.py` issues, `tls_contexts.py` has the contexts of certificates in files.
"""

import os
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Final, NamedTuple

from cmux_proxy.config.host_names import HOST_NAME
from cmux_proxy.net.loopback import LOOPBACKS
from cmux_proxy.net.tls_authority import Authority, IPAddress, is_within, key_to_pem, new_key
from cmux_proxy.net.tls_certificates import new_server_context

# Contexts in memory; one takes 20 KiB.
MAX_LEAVES: Final = 256
_LOCALHOST: Final = "localhost"


class LeafContext(NamedTuple):
    """A context, and the time in seconds since 1970 from which on another one replaces it."""

    context: ssl.SSLContext
    renew_at: float


class LeafTable:
    """Finds the context for a server name, and issues its certificate where there is none.

    `domains` are those of which names are accepted; `configure` completes each context; `addresses`
    are in the default certificate too; `now` returns seconds since 1970.
    """

    def __init__(
        self,
        authority: Authority,
        domains: Iterable[str],
        configure: Callable[[ssl.SSLContext], None],
        addresses: Iterable[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._authority = authority
        self._domains = (_LOCALHOST, *domains)
        self._configure = configure
        self._addresses = list(dict.fromkeys(map(ip_address, (*LOOPBACKS, *addresses))))
        self._now = now
        self._key = new_key()
        self._leaves: OrderedDict[str, LeafContext] = OrderedDict()

    def make_default(self) -> LeafContext:
        """Return a new context for localhost and loopback addresses, which chooses by name."""
        leaf = self._make([_LOCALHOST], self._addresses)
        leaf.context.sni_callback = self.choose
        return leaf

    def choose(
        self, session: ssl.SSLSocket | ssl.SSLObject, name: str | None, _context: ssl.SSLContext
    ) -> int | None:
        """Give a session the context for its server name; it has the default so far.

        Return the alert where a certificate cannot be made, because descriptors are used up.
        """
        try:
            found = None if name is None else self.find(name)
        except OSError:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        if found is not None:
            session.context = found
        return None

    def find(self, name: str) -> ssl.SSLContext | None:
        """Return the context for a name; None if the default has it, or it is not of a domain."""
        name = name.lower().removesuffix(".")
        leaf = self._leaves.get(name)
        if leaf is None or leaf.renew_at <= self._now():
            address = _loopback_address(name)
            if address is None and not self._accepts(name):
                return None
            leaf = self._make([name], []) if address is None else self._make([], [address])
            self._leaves[name] = leaf
        self._leaves.move_to_end(name)
        if len(self._leaves) > MAX_LEAVES:
            self._leaves.popitem(last=False)
        return leaf.context

    def _accepts(self, name: str) -> bool:
        if name == _LOCALHOST or HOST_NAME.fullmatch(name) is None:
            return False
        return any(is_within(name, domain) for domain in self._domains)

    def _make(self, names: Sequence[str], addresses: Sequence[IPAddress]) -> LeafContext:
        now = self._now()
        leaf = self._authority.issue(self._key.public_key(), names, addresses)
        context = new_server_context()
        _load(context, leaf.pem, key_to_pem(self._key))
        self._configure(context)
        return LeafContext(context, now + (leaf.ends - now) * 2 / 3)


def _loopback_address(name: str) -> IPAddress | None:
    """Return the address that some clients send as a name, in spite of RFC 6066 section 3."""
    try:
        address = ip_address(name)
    except ValueError:
        return None
    return address if address.is_loopback else None


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a certificate and its key, which `ssl` reads of files only; raise OSError."""
    with _readable(certificate) as cert_path, _readable(key) as key_path:
        context.load_cert_chain(cert_path, key_path)


@contextmanager
def _readable(data: bytes) -> Iterator[str]:
    """Yield the path of a pipe that has these few bytes, so that no key is on a disk."""
    reader, writer = os.pipe()
    try:
        with open(writer, "wb", buffering=0) as file:
            file.write(data)
        yield f"/dev/fd/{reader}"
    finally:
        os.close(reader)
