"""Links between pages: they lead somewhere, in the repository and on the site."""

import re
from pathlib import Path

import pytest

from tools.docs import links
from tools.docs.links import beside_docs, for_site, navigation, on_site, targets

ROOT = links.ROOT
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
BESIDE = [path for path in beside_docs(DOCS) if path.endswith(".md")]
ANCHOR = re.compile(r"\]\((?P<path>[^()\s#:]*)#(?P<anchor>[^()\s]+)\)")


def anchors(page: str) -> set[str]:
    """Return what the headings of a page are called in links, on GitHub as on the site."""
    text = (ROOT / page).read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", each).strip().lower().replace(" ", "-") for each in plain}


@pytest.mark.parametrize("page", ["README.md", *DOCS, *BESIDE])
def test_every_link_leads_somewhere(page: str) -> None:
    missing = [target for target in targets(page) if not (ROOT / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", ["README.md", *DOCS, *BESIDE])
def test_every_link_into_a_page_leads_to_a_heading(page: str) -> None:
    for match in ANCHOR.finditer((ROOT / page).read_text("utf-8")):
        target = links.resolve_link(page, match["path"]) if match["path"] else page
        assert match["anchor"] in anchors(target), match[0]


def test_the_site_lists_every_page_once() -> None:
    listed: list[str] = []

    def walk(entry: object) -> None:
        if isinstance(entry, str):
            listed.append(entry)
        for below in entry.values() if isinstance(entry, dict) else []:
            for each in below if isinstance(below, list) else [below]:
                walk(each)

    for entry in navigation():
        walk(entry)
    assert sorted(listed) == sorted(map(on_site, [*DOCS, *BESIDE]))


def test_links_on_one_line_are_a_section() -> None:
    development = navigation()[-1]["Development"]
    assert isinstance(development, list)
    [decisions] = [entry for entry in development if "Decisions" in entry]
    assert {"heads as bytes": "development/decisions/0001-heads-as-bytes.md"} in (
        decisions["Decisions"]
    )
    assert {"Changelog": "CHANGELOG.md"} in development


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("docs/a/b.md", "[x](../c/d.md#e), [f](g.md)", "[x](../c/d.md#e), [f](g.md)"),
        ("docs/a/b.md", "[x](../../SECURITY.md)", "[x](../SECURITY.md)"),
        ("docs/index.md", "[x](../fuzz/README.md#y)", "[x](fuzz/README.md#y)"),
        ("CONTRIBUTING.md", "[x](docs/a/b.md)", "[x](a/b.md)"),
        ("bench/results/README.md", "[x](../../docs/a.md)", "[x](../../a.md)"),
        ("docs/a/b.md", "see [`x`](../../deploy/kubernetes) there", "see `x` there"),
        ("docs/a.md", "[the run](../.ci/run) does", "the run does"),
        ("docs/a.md", "[x](https://a.example/b#c) [y](#z)", "[x](https://a.example/b#c) [y](#z)"),
    ],
)
def test_links_lead_to_pages_of_the_site(page: str, text: str, expected: str) -> None:
    assert for_site(page, text) == expected


def test_files_beside_docs_are_found_through_each_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(links, "ROOT", tmp_path)
    for name, text in {
        "docs/a.md": "[b](../b.md) [c](c.md)", "docs/c.md": "",
        "b.md": "[d](e/d.toml) [a](docs/a.md)", "e/d.toml": "", "not-named.md": "",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert beside_docs(["docs/a.md", "docs/c.md"]) == ["b.md", "e/d.toml"]
