"""Generated parts of handwritten pages: each part is between two marks that contain its name."""

from typing import Final

_BEGIN: Final = "<!-- {}: begin; made by `make pages` -->\n"
_END: Final = "<!-- {}: end -->\n"


def replace_marked(page: str, name: str, content: str, file: str) -> str:
    """Return a page with new content between the marks of a name.

    Raises LookupError, which says what to add to the file if the marks are missing.
    """
    begin, end = _BEGIN.format(name), _END.format(name)
    before, found, after_begin = page.partition(begin)
    _, found_end, after = after_begin.partition(end)
    if not found or not found_end:
        raise LookupError(f"{file} needs these two lines where {name} belongs:\n{begin}{end}")
    return f"{before}{begin}\n{content}\n{end}{after}"
