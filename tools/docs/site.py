"""What mkdocs asks while it builds the site: pages beside docs/, links to them, the navigation.

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

# What it warns of fails a strict build.
_log = logging.getLogger("mkdocs.plugins.cmux_proxy")


def on_config(config: Any) -> None:
    """Have the navigation follow docs/index.md."""
    config.nav = navigation()


def on_files(files: Files, config: Any) -> None:
    """Add the files beside docs/ to which its pages lead."""
    pages = [f"docs/{page.src_uri}" for page in files.documentation_pages()]
    for path in beside_docs(pages):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Have links lead to where the site has what they mean."""
    source = Path(page.file.abs_src_path).relative_to(ROOT).as_posix()
    return for_site(source, markdown)


def on_post_page(output: str, page: Any, **_: object) -> None:
    """Warn of a page that loads something from elsewhere."""
    for match in _OUTSIDE.finditer(output):
        _log.warning("%s loads from elsewhere: %s", page.file.src_uri, match[0])
