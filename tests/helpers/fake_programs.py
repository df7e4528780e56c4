"""Programs that do nothing but write down how they were started."""

from pathlib import Path


class FakePrograms:
    """A folder for PATH, and what its programs were started with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = folder / "started"
        folder.mkdir()

    def add(self, name: str, script: str = "") -> str:
        """Add a program, which then runs a script of the shell; return its path."""
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{self._log}"\n{script}\n')
        path.chmod(0o755)
        return str(path)

    def find(self, name: str) -> str | None:
        """Return the path of a program, None if it was not added."""
        path = self.folder / name
        return str(path) if path.exists() else None

    def started(self) -> list[str]:
        """Return names and arguments of the programs, in the order of their starts."""
        return self._log.read_text().splitlines() if self._log.exists() else []
