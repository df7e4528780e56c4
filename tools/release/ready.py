"""python -m tools.release.ready [TAG] [--notes]: may this be released, and what is new in it?

The version is in src/cmux_proxy/_build.py and nowhere else; the changelog has to know it.
"""

import re
import sys
from datetime import date
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent

_VERSION: Final = re.compile(r'^__version__: Final = "(?P<version>[^"]+)"$', re.MULTILINE)
_SECTION: Final = re.compile(r"^## \[(?P<version>[^\]]+)\](?P<rest>.*)$", re.MULTILINE)


def version_of(source: str) -> str:
    """Return the version that _build.py names, which is read and not run."""
    [version] = _VERSION.findall(source)
    return str(version)


def obstacles(tag: str | None, changelog: str, version: str) -> list[str]:
    """Return what is in the way of a release, each as one line with its remedy."""
    found = []
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, and src/cmux_proxy/_build.py says {version}")
    sections = {match["version"]: match for match in _SECTION.finditer(changelog)}
    mine = sections.get(version)
    if mine is None:
        return [*found, f"CHANGELOG.md has no section '## [{version}] - YYYY-MM-DD'"]
    if not _is_date(mine["rest"].removeprefix(" - ")):
        found.append(f"the section of {version} in CHANGELOG.md has no date: '- YYYY-MM-DD'")
    if not notes(changelog, version):
        found.append(f"the section of {version} in CHANGELOG.md is empty")
    if notes(changelog, "Unreleased"):
        found.append(f"CHANGELOG.md has entries above {version} that are not of a release")
    return found


def notes(changelog: str, version: str) -> str:
    """Return what the changelog says of a version; nothing if it does not know it."""
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
    """Print what is in the way, or with --notes what is new; return the exit status."""
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
