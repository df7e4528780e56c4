"""The tables of docs/reference/configuration.md: generated from the fields."""

from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import pytest

from cmux_proxy import Config
from tools.docs import configuration
from tools.docs.configuration import PAGE, configuration_page
from tools.docs.tables import field_table

SECTIONS = [field.name for field in fields(Config) if is_dataclass(getattr(Config(), field.name))]


def test_the_page_is_generated_from_the_fields() -> None:
    assert configuration_page() == PAGE.read_text("utf-8"), "`make pages` writes it"


@pytest.mark.parametrize("name", SECTIONS)
def test_every_field_of_a_section_has_a_row(name: str) -> None:
    section = getattr(Config(), name)
    rows = field_table(section).splitlines()[2:]
    assert [row.partition("` |")[0] for row in rows] == [
        f"| `{field.name}" for field in fields(section)
    ]


def test_a_section_without_a_place_in_the_page_is_named_with_the_lines_to_add(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "configuration.md"
    page.write_text("# Configuration\n")
    monkeypatch.setattr(configuration, "PAGE", page)
    with pytest.raises(LookupError, match="needs these two lines where fields of Config belongs"):
        configuration_page()


def test_a_field_without_help_is_named() -> None:
    @dataclass
    class Section:
        size: int = 1

    with pytest.raises(LookupError, match=r"Section\.size has no help: declare it with option"):
        field_table(Section())
