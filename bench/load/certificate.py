"""Makes the certificate of the scenarios with TLS: ECDSA with P-256, for localhost and 127.0.0.1.

It is made once per directory. File, chain and key are one PEM file, as HAProxy wants it.
"""

import subprocess
from pathlib import Path

from bench.load.processes import BenchError, find_program

_OPTIONS = (
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
)  # fmt: skip


def certificate(directory: Path) -> Path:
    """Return the file of the certificate and its key, and make it first if necessary.

    Raises BenchError if there is no openssl, or with what it reports.
    """
    path = directory / "certificate.pem"
    if not path.exists():
        openssl = find_program("openssl")
        if openssl is None:
            raise BenchError("openssl not found; on Debian: apt-get install openssl")
        command = [openssl, *_OPTIONS, "-keyout", str(path), "-out", "-"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise BenchError(f"no certificate: {result.stderr.strip()}")
        with path.open("a", encoding="ascii") as file:
            file.write(result.stdout)
    return path
