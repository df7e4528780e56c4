"""A certificate authority of the test's own, made with openssl."""

from pathlib import Path
from typing import Final

from tests.helpers.tools import finish, tool

_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """Issues certificates; `path` is what whoever believes it has to be given."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "authority.pem"

    @classmethod
    async def make(cls, folder: Path) -> "Authority":
        """Return a new one, whose files are in a folder that is there."""
        authority = cls(folder)
        await authority._openssl(
            "req", "-x509", *_KEY, "-subj", "/CN=authority of a test", "-days", "2",
            "-keyout", "authority.key", "-out", "authority.pem",
        )  # fmt: skip
        return authority

    async def issue(self, name: str, days: int = 2) -> Path:
        """Return a file with a certificate for a name or an address, and its key."""
        kind = "IP" if name[0].isdigit() else "DNS"
        (self._folder / "names").write_text(f"subjectAltName={kind}:{name}\n")
        await self._openssl(
            "req", *_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"
        )
        await self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-days", str(days), "-extfile", "names",
            "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial",
            "-out", f"{name}.pem",
        )  # fmt: skip
        both = self._folder / f"{name}.both"
        parts = [self._folder / f"{name}.{ending}" for ending in ("pem", "key")]
        both.write_bytes(b"".join(part.read_bytes() for part in parts))
        return both

    async def _openssl(self, *words: str) -> None:
        path = [f"{self._folder}/{word}" if word.endswith(_FILES) else word for word in words]
        done = await finish(tool("openssl"), *path)
        assert done.status == 0, done.errors


_FILES: Final = (".key", ".pem", ".csr", "names")
