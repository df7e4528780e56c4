"""One harness under libFuzzer: python -m fuzz.harness NAME [FILE or FOLDER or -OPTION ...].

Every input goes to both builds, and their results have to be equal. The coverage of the pure build
guides the fuzzer.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial

import atheris

from fuzz.builds import Targets, load_both


class Disagreement(AssertionError):
    """The builds have different results for the same bytes."""


def read_in_both(pure: Targets, compiled: Targets, name: str, data: bytes) -> None:
    """Fail unless both builds have the same result."""
    pure_result, compiled_result = pure[name](data), compiled[name](data)
    if pure_result != compiled_result:
        raise Disagreement(f"{data!r}: {first_difference(pure_result, compiled_result)}")


def first_difference(pure: object, compiled: object, path: str = "result") -> str:
    """Return the first part of two results that differs, and its two values."""
    if isinstance(pure, Mapping) and isinstance(compiled, Mapping):
        keys = [key for key in pure if pure[key] != compiled.get(key)]
        if keys:
            return first_difference(pure[keys[0]], compiled.get(keys[0]), f"{path}.{keys[0]}")
    if isinstance(pure, list | tuple) and isinstance(compiled, list | tuple):
        index = _first_index(pure, compiled)
        if index is not None:
            return first_difference(pure[index], compiled[index], f"{path}[{index}]")
    return f"{path} is {pure!r} in the pure build and {compiled!r} in the compiled one"


def _first_index(pure: Sequence[object], compiled: Sequence[object]) -> int | None:
    pairs = enumerate(zip(pure, compiled, strict=False))
    return next((index for index, (left, right) in pairs if left != right), None)


def main() -> None:
    """Fuzz until a limit that an option of libFuzzer sets."""
    program, name, *options = sys.argv
    pure, compiled = load_both(atheris.instrument_imports(include=["cmux_proxy"]))
    if name not in pure:
        sys.exit(f"{name} is not one of {', '.join(pure)}")
    atheris.Setup([program, *options], partial(read_in_both, pure, compiled, name))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
