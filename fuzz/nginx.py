"""Compares how nginx reads responses directly and through the proxy: python -m fuzz.nginx.

`tests/helpers/nginx_responses.py` has the conditions. A response that fails is saved as a file; the
name of the file as an argument repeats it.
"""

import argparse
import asyncio
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from fuzz.network.peers import Failure
from fuzz.network.watch import Watch
from fuzz.proxies import add_options, watched_proxy
from fuzz.responses import messages
from tests.helpers.nginx_responses import NginxComparison, nginx_comparison
from tests.helpers.origins import origin
from tests.helpers.response_plays import Upstream

_HERE: Final = Path(__file__).parent
_WORK: Final = _HERE / ".work"
_MAX_FAILURES: Final = 5


class Fuzzer:
    """Tries responses, and saves those that fail."""

    def __init__(self, nginx: NginxComparison, watch: Watch) -> None:
        self.done = 0
        self.agreed = 0
        self.failures: list[str] = []
        self._comparison = nginx
        self._watch = watch

    async def run(self, responses: Iterable[bytes], seconds: float) -> None:
        """Try them until the time is over, or until too many have failed."""
        end = time.monotonic() + seconds
        for data in responses:
            is_over = self._watch.has_ended or len(self.failures) >= _MAX_FAILURES
            if time.monotonic() > end or is_over:
                return
            await self._try(data)

    async def _try(self, data: bytes) -> None:
        self.done += 1
        try:
            self.agreed += await self._comparison.compare(data)
            self._watch.check()
        except (AssertionError, OSError, TimeoutError) as error:
            self.failures.append(f"{_save(data)}: {type(error).__name__}: {error}")
            self._comparison.close()


def _save(data: bytes) -> Path:
    folder = _WORK / "found" / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(data).hexdigest()[:16]
    path.write_bytes(data)
    return path.relative_to(_HERE.parent)


async def fuzz(options: argparse.Namespace) -> Fuzzer:
    """Start upstream, proxy and nginx, and try responses."""
    upstream = Upstream()
    async with (
        origin(upstream.behave) as source,
        watched_proxy(options, "--allow-port", str(source.port)) as watch,
    ):
        with tempfile.TemporaryDirectory() as folder:
            async with nginx_comparison(Path(folder), watch.port, source, upstream) as nginx:
                fuzzer = Fuzzer(nginx, watch)
                given = [file.read_bytes() for file in options.files]
                responses = given or messages(options.seed, _WORK / "learned")
                await fuzzer.run(responses, options.seconds)
        try:
            await watch.end()
        except Failure as error:
            fuzzer.failures.append(str(error))
    return fuzzer


def main() -> int:
    """Fuzz; return 1 if something failed."""
    parser = argparse.ArgumentParser(prog="fuzz.nginx", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    add_options(parser)
    parser.add_argument("files", nargs="*", type=Path, help="try only these")
    options = parser.parse_args()
    start = time.monotonic()
    fuzzer = asyncio.run(fuzz(options))
    for failure in fuzzer.failures:
        print(failure)
    print(
        f"nginx {options.loop} {options.build}: {fuzzer.done} responses, of which nginx reads "
        f"{fuzzer.agreed} raw, in {time.monotonic() - start:.0f} s, seed {options.seed}, "
        f"{len(fuzzer.failures)} failures"
    )
    return 1 if fuzzer.failures else 0


if __name__ == "__main__":
    sys.exit(main())
