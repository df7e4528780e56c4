"""A certificate authority for a test, made with openssl."""

from pathlib import Path
from typing import Final

from tests.helpers.tools import finish, tool

_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """Issues certificates; `path` is the file that clients have to trust."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "authority.pem"

    @classmethod
    async def make(cls, folder: Path) -> "Authority":
        """Return a new authority, whose files are in an existing folder."""
        authority = cls(folder)
        await _openssl(
            folder,
            "req", "-x509", *_KEY, "-subj", "/CN=authority of a test", "-days", "2",
            "-keyout", "authority.key", "-out", "authority.pem",
        )  # fmt: skip
        return authority

    async def issue(self, name: str, days: int = 2) -> Path:
        """Return a file with a certificate for a name or an address, and its key."""
        name_type = "IP" if name[0].isdigit() else "DNS"
        (self.folder / "names").write_text(f"subjectAltName={name_type}:{name}\n")
        await _openssl(
            self.folder,
            "req",
            *_KEY,
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
        )
        await _openssl(
            self.folder, "x509", "-req", "-in", f"{name}.csr", "-days", str(days),
            "-extfile", "names",
            "-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial",
            "-out", f"{name}.pem",
        )  # fmt: skip
        bundle = self.folder / f"{name}.both"
        parts = [self.folder / f"{name}.{ending}" for ending in ("pem", "key")]
        bundle.write_bytes(b"".join(part.read_bytes() for part in parts))
        return bundle


async def _openssl(folder: Path, *words: str) -> None:
    arguments = [f"{folder}/{word}" if word.endswith(_FILES) else word for word in words]
    process = await finish(tool("openssl"), *arguments)
    assert process.status == 0, process.errors


_FILES: Final = (".key", ".pem", ".csr", "names")
