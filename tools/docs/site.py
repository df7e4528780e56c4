"""Hooks of mkdocs for the site: pages outside docs/, links to them, and the navigation.

mkdocs finds these functions by their names; mkdocs.yml names this file.
"""

import logging
import re
import sys
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from tools.docs.links import beside_docs, for_site, navigation  # noqa: E402

_OUTSIDE: Final = re.compile(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=\"?(?:https?:)?//")

# A warning fails a strict build.
_log = logging.getLogger("mkdocs.plugins.cmux_proxy")


def on_config(config: Any) -> None:
    """Set the navigation to the order of docs/index.md."""
    config.nav = navigation()


def on_files(files: Files, config: Any) -> None:
    """Add the files outside docs/ to which its pages link."""
    pages = [f"docs/{page.src_uri}" for page in files.documentation_pages()]
    for path in beside_docs(pages):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Replace links by those of the site."""
    source = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()
    return for_site(source, markdown)


def on_post_page(output: str, page: Any, **_: object) -> None:
    """Warn of a page that loads resources from another site."""
    for match in _OUTSIDE.finditer(output):
        _log.warning("%s loads from another site: %s", page.file.src_uri, match[0])
