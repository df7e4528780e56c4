"""Config and its sections -> the tables of docs/reference/configuration.md; the rest is prose."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from cmux_proxy.config.proxy_config import Config
from tools.docs.marked import replace_marked
from tools.docs.tables import field_table

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "reference" / "configuration.md"


def configuration_page() -> str:
    """Return the page with new tables; raise LookupError if marks are missing."""
    page = PAGE.read_text("utf-8")
    for section in _sections(Config()):
        name = f"fields of {type(section).__name__}"
        page = replace_marked(page, name, field_table(section), "docs/reference/configuration.md")
    return page


def _sections(config: Any) -> Iterator[Any]:
    yield config
    for entry in fields(config):
        value = getattr(config, entry.name)
        if is_dataclass(value):
            yield value
