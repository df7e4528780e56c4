"""A version may be released only if version, tag and changelog agree."""

import subprocess
import sys

import pytest

from cmux_proxy import __version__
from tests.helpers.timing import LATER
from tools.release.ready import ROOT, notes, obstacles, version_of

SOURCE = ROOT / "src" / "cmux_proxy" / "_build.py"
in_checkout = pytest.mark.skipif(not SOURCE.is_file(), reason="the sources are not here")

GOOD = """# Changelog

## [Unreleased]

## [1.2.3] - 2031-02-03

### Added

- Something.

## [1.2.2] - 2031-01-01

- Less.
"""


def test_a_version_with_a_matching_tag_and_changelog_may_be_released() -> None:
    assert obstacles("v1.2.3", GOOD, "1.2.3") == []
    assert obstacles(None, GOOD, "1.2.3") == []


@pytest.mark.parametrize(
    ("tag", "changelog", "message"),
    [
        ("v1.2.4", GOOD, "the tag is v1.2.4, and src/cmux_proxy/_build.py says 1.2.3"),
        ("1.2.3", GOOD, "the tag is 1.2.3, and"),
        (None, GOOD.replace("1.2.3", "1.2.4"), "no section '## [1.2.3] - YYYY-MM-DD'"),
        (None, GOOD.replace("2031-02-03", "soon"), "has no date: '- YYYY-MM-DD'"),
        (None, GOOD.replace("2031-02-03", "2031-02-30"), "has no date"),
        (None, GOOD.replace(" - 2031-02-03", ""), "has no date"),
        (None, GOOD.replace("### Added\n\n- Something.\n", ""), "section of 1.2.3 in CHANGELOG.md"),
        (None, GOOD.replace("ed]\n", "ed]\n\n- More.\n"), "entries above 1.2.3 that belong to no"),
        (None, "", "no section"),
    ],
)
def test_each_mismatch_is_reported(tag: str | None, changelog: str, message: str) -> None:
    [obstacle] = obstacles(tag, changelog, "1.2.3")
    assert message in obstacle


def test_the_notes_are_the_section_of_the_version() -> None:
    assert notes(GOOD, "1.2.3") == "### Added\n\n- Something."
    assert notes(GOOD, "1.2.2") == "- Less."
    assert notes(GOOD, "9.9.9") == ""


@in_checkout
def test_the_version_is_only_in_the_build_module() -> None:
    assert version_of(SOURCE.read_text("utf-8")) == __version__
    assert f'"{__version__}"' not in (ROOT / "pyproject.toml").read_text("utf-8")


@in_checkout
@pytest.mark.parametrize(("arguments", "status"), [(["v0.0.0"], 1), (["--notes"], 0)])
def test_it_needs_only_the_standard_library(arguments: list[str], status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "tools.release.ready", *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=LATER, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (status, "")
    if status:
        assert "the tag is v0.0.0, and src/cmux_proxy/_build.py says" in done.stdout
