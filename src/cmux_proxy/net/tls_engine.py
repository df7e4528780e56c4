"""One TLS session without I/O: ciphertext in, plaintext out, and the other way round.

The session works on two buffers in memory (`ssl.MemoryBIO`), which keep the size that they have
grown to for as long as the session lives. Bytes therefore pass through them in portions.
Does not know streams. Neighbours: `tls_handshake.py` opens a session, `tls_stream.py` uses it.
"""

import ssl
from collections.abc import Iterable
from typing import Final

from mypy_extensions import mypyc_attr

from cmux_proxy.net.stream import Data

# The plaintext of one record (RFC 8446 section 5.1).
RECORD_SIZE: Final = 16 * 1024
# How many bytes pass through a buffer at a time.
PORTION: Final = 16 * 1024


@mypyc_attr(free_list_len=1)
class TlsEngine:
    """A session; `has_ended` says that the peer has sent close_notify (RFC 8446 section 6.1).

    `failure` is the error that has ended the session; nothing may be encrypted after it.
    """

    __slots__ = ("_incoming", "_outgoing", "context", "failure", "has_ended", "session")

    def __init__(
        self, context: ssl.SSLContext, is_server: bool, server_name: str | None = None
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.context = context
        self.session: ssl.SSLObject = context.wrap_bio(
            self._incoming, self._outgoing, server_side=is_server, server_hostname=server_name
        )
        self.has_ended = False
        self.failure: ssl.SSLError | None = None

    def shake_hands(self, data: Data) -> bool:
        """Take bytes of the peer; return whether the handshake is complete. Sets `failure`."""
        self._incoming.write(data)
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            self.failure = error
            return False
        return True

    def decrypt(self, data: Data) -> bytes:
        """Return the plaintext of all records that these bytes complete.

        Where one cannot be decrypted, return what came before, and set `failure`.
        """
        parts: list[bytes] = []
        if len(data) <= PORTION:
            self._incoming.write(data)
            self._read_records(parts)
        else:
            view = memoryview(data)
            for start in range(0, len(data), PORTION):
                self._incoming.write(view[start : start + PORTION])
                self._read_records(parts)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_records(self, parts: list[bytes]) -> None:
        """Read until a record is not complete; questions save the exception in most cases."""
        session = self.session
        # A record is longer than its plaintext, so that small ones take little memory.
        size: int = self._incoming.pending or session.pending()
        try:
            while size > 0:
                part = session.read(min(size, RECORD_SIZE))
                if not part:
                    self.has_ended = True
                    return
                parts.append(part)
                # A short read has emptied its record.
                is_whole = len(part) < size
                size = self._incoming.pending or (0 if is_whole else session.pending())
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            self.has_ended = True
        except ssl.SSLError as error:
            self.failure = error

    def encrypt(self, data: Data) -> bytes:
        """Return bytes as records."""
        if len(data) <= PORTION:
            self.session.write(data)
            return self._outgoing.read()
        view = memoryview(data)
        records: list[bytes] = []
        for start in range(0, len(data), PORTION):
            self.session.write(view[start : start + PORTION])
            records.append(self._outgoing.read())
        return b"".join(records)

    def encrypt_parts(self, parts: Iterable[Data]) -> bytes:
        """Return several pieces of bytes as records; only small pieces are joined."""
        records: list[bytes] = []
        small: list[Data] = []
        size = 0
        for part in parts:
            if size + len(part) > RECORD_SIZE and size > 0:
                records.append(self.encrypt(b"".join(small)))
                small.clear()
                size = 0
            if len(part) < RECORD_SIZE:
                small.append(part)
                size += len(part)
            else:
                records.append(self.encrypt(part))
        if size > 0:
            records.append(self.encrypt(b"".join(small)))
        return b"".join(records)

    def has_outgoing(self) -> bool:
        """Return whether the session itself has something to send, such as an alert."""
        return self._outgoing.pending > 0

    def take_outgoing(self) -> bytes:
        """Return what has to be sent."""
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return our close_notify; call it once, after which nothing may be encrypted.

        OpenSSL looks for the close_notify of the peer at the same time, and loses a record with
        data that it finds in its place. None is left: `decrypt` reads all that has come.
        """
        if self.failure is None:
            try:
                self.session.unwrap()
            except ssl.SSLError:
                # The peer has not ended yet.
                pass
        return self._outgoing.read()
