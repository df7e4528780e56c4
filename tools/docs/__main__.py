"""python -m tools.docs: writes all pages that are generated from the code."""

from pathlib import Path

from tools.docs.commands import cli_page
from tools.docs.configuration import configuration_page
from tools.docs.example import example
from tools.docs.man import man_page

ROOT = Path(__file__).parent.parent.parent
PAGES = {
    "docs/cmux-proxy.1": man_page,
    "docs/reference/cli.md": cli_page,
    "docs/reference/configuration.md": configuration_page,
    "examples/cmux-proxy.toml": example,
}


def main() -> None:
    """Write the pages that have changed, and print their names."""
    for name, make in PAGES.items():
        path, text = ROOT / name, make()
        if not path.is_file() or path.read_text("utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
            print(name)


if __name__ == "__main__":
    main()
