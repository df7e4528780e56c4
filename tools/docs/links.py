"""Links between pages in the repository -> links of the site. Reads pages only.

In the repository a page in docs/ may link to a file outside docs/, which the site has at the same
path, and such a file may link back into docs/, whose pages are at the top of the site.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent
DOCS: Final = "docs/"
INDEX: Final = "docs/index.md"

_LINK: Final = re.compile(r"(?<=\]\()(?P<path>[^()\s#:]+)(?P<anchor>#[^()\s]*)?(?=\))")
_NO_TARGET: Final = re.compile(r"\[([^\[\]]+)\]\(\)")
_ENTRY: Final = re.compile(r"\[(?P<title>[^\]]+)\]\((?P<path>[^)#]+\.md)\)")


def targets(page: str) -> Iterator[str]:
    """Yield the paths in the repository to which a page links."""
    for match in _LINK.finditer((ROOT / page).read_text("utf-8")):
        yield resolve_link(page, match["path"])


def beside_docs(pages: list[str]) -> list[str]:
    """Return the files outside docs/ to which pages link, directly or through other files."""
    found: dict[str, None] = {}
    waiting = list(pages)
    while waiting:
        for target in targets(waiting.pop()):
            if not target.startswith(DOCS) and _is_shown(target) and target not in found:
                found[target] = None
                waiting += [target] if target.endswith(".md") else []
    return sorted(found)


def for_site(page: str, text: str) -> str:
    """Return a page's text with the links of the site.

    Links to folders and hidden files, which the site cannot show, are removed.
    """
    here = os.path.dirname(on_site(page))

    def replace(match: re.Match[str]) -> str:
        target = resolve_link(page, match["path"])
        if (ROOT / target).exists() and not _is_shown(target):
            return ""
        return os.path.relpath(on_site(target), here or ".") + (match["anchor"] or "")

    return _NO_TARGET.sub(r"\1", _LINK.sub(replace, text))


def on_site(path: str) -> str:
    """Return the path of a file in the site."""
    return path.removeprefix(DOCS)


def navigation() -> list[dict[str, object]]:
    """Return the headings of docs/index.md with their links; a line with a name is a section."""
    front, *sections = (ROOT / INDEX).read_text("utf-8").split("\n## ")
    return [{front.partition("\n")[0].removeprefix("# "): on_site(INDEX)}, *map(_section, sections)]


def _section(text: str) -> dict[str, object]:
    title, *lines = text.splitlines()
    entries: list[object] = []
    for line in lines:
        listed = [
            {_title(match["title"]): on_site(resolve_link(INDEX, match["path"]))}
            for match in _ENTRY.finditer(line)
        ]
        name, _, _rest = line.removeprefix("- ").partition(": [")
        entries += listed if name.startswith("[") or not listed else [{name: listed}]
    return {title.partition(":")[0]: entries}


def _is_shown(path: str) -> bool:
    return (ROOT / path).is_file() and not path.startswith(".")


def _title(text: str) -> str:
    """Return the title of a page in the navigation, made of its name if it is a file name."""
    return text.removesuffix(".md").title() if text.endswith(".md") else text


def resolve_link(page: str, path: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(page), path))
