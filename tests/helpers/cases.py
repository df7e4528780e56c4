"""Reads the corpus: each case is a file of bytes and a .toml file with the expected result."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.escapes import unescape

CORPUS = Path(__file__).parent.parent / "corpus"


@dataclass(frozen=True)
class Case:
    """One case: its name, its bytes and the content of its .toml file."""

    name: str
    data: bytes
    expected: dict[str, Any]

    def text(self, key: str, default: str) -> str:
        """Return a text of the .toml file."""
        value = self.expected.get(key, default)
        assert isinstance(value, str)
        return value

    def spelled(self, key: str) -> bytes:
        """Return the bytes that a text of the .toml file spells; none if it is missing."""
        return unescape(self.text(key, ""))


def read_cases(folder: str) -> list[Case]:
    """Return the cases below a folder of the corpus, sorted by name."""
    paths = sorted((CORPUS / folder).glob("*.http"))
    return [
        Case(path.stem, unescape(path.read_text("ascii")), _expected(path.with_suffix(".toml")))
        for path in paths
    ]


def names(cases: list[Case]) -> list[str]:
    """Return the ids of parametrised cases."""
    return [case.name for case in cases]


def _expected(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)
