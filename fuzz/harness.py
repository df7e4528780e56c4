"""One harness under libFuzzer: python -m fuzz.harness NAME [FILE or FOLDER or -OPTION ...].

Every input goes to both builds, and both have to find the same; coverage guides by the pure one.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial

import atheris

from fuzz.builds import Targets, both


class Disagreement(AssertionError):
    """The builds read the same bytes in two ways."""


def read_in_both(pure: Targets, compiled: Targets, name: str, data: bytes) -> None:
    """Fail unless both builds accept the bytes alike, or refuse them alike."""
    found, other = pure[name](data), compiled[name](data)
    if found != other:
        raise Disagreement(f"{data!r}: {first_difference(found, other)}")


def first_difference(pure: object, compiled: object, where: str = "it") -> str:
    """Return where two findings part, and what either says there."""
    if isinstance(pure, Mapping) and isinstance(compiled, Mapping):
        keys = [key for key in pure if pure[key] != compiled.get(key)]
        if keys:
            return first_difference(pure[keys[0]], compiled.get(keys[0]), f"{where}.{keys[0]}")
    if isinstance(pure, list | tuple) and isinstance(compiled, list | tuple):
        at = _first_place(pure, compiled)
        if at is not None:
            return first_difference(pure[at], compiled[at], f"{where}[{at}]")
    return f"{where} is {pure!r} to the pure build and {compiled!r} to the compiled one"


def _first_place(one: Sequence[object], other: Sequence[object]) -> int | None:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), None)


def main() -> None:
    """Fuzz until an option of libFuzzer's says that it is enough."""
    program, name, *options = sys.argv
    pure, compiled = both(atheris.instrument_imports(include=["cmux_proxy"]))
    if name not in pure:
        sys.exit(f"{name} is none of {', '.join(pure)}")
    atheris.Setup([program, *options], partial(read_in_both, pure, compiled, name))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
