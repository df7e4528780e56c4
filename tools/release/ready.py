"""python -m tools.release.ready [TAG] [--notes]: checks whether this version may be released.

With --notes, it prints the changes of this version instead. The version is only in
src/cmux_proxy/_build.py, and the changelog needs a section for it.
"""

import re
import sys
from datetime import date
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent

_VERSION: Final = re.compile(r'^__version__: Final = "(?P<version>[^"]+)"$', re.MULTILINE)
_SECTION: Final = re.compile(r"^## \[(?P<version>[^\]]+)\](?P<suffix>.*)$", re.MULTILINE)


def version_of(source: str) -> str:
    """Return the version in the source of _build.py, which is parsed and not run."""
    [version] = _VERSION.findall(source)
    return str(version)


def obstacles(tag: str | None, changelog: str, version: str) -> list[str]:
    """Return the obstacles to a release, one line each; none if it may be released."""
    found = []
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, and src/cmux_proxy/_build.py says {version}")
    sections = {match["version"]: match for match in _SECTION.finditer(changelog)}
    section = sections.get(version)
    if section is None:
        return [*found, f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'"]
    if not _is_date(section["suffix"].removeprefix(" - ")):
        found.append(f"the section of {version} in CHANGELOG.md has no date: '- YYYY-MM-DD'")
    if not notes(changelog, version):
        found.append(f"the section of {version} in CHANGELOG.md is empty")
    if notes(changelog, "Unreleased"):
        found.append(f"CHANGELOG.md has entries above {version} that belong to no release")
    return found


def notes(changelog: str, version: str) -> str:
    """Return the changelog's section of a version; an empty string if there is none."""
    matches = list(_SECTION.finditer(changelog))
    for number, match in enumerate(matches):
        if match["version"] == version:
            end = matches[number + 1].start() if number + 1 < len(matches) else len(changelog)
            return changelog[match.end() : end].strip()
    return ""


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def main(arguments: list[str]) -> int:
    """Print the obstacles, or the notes with --notes; return the exit status."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    version = version_of((ROOT / "src/cmux_proxy/_build.py").read_text("utf-8"))
    if "--notes" in arguments:
        print(notes(changelog, version))
        return 0
    found = obstacles(arguments[0] if arguments else None, changelog, version)
    print("\n".join(found) if found else f"{version} may be released")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
