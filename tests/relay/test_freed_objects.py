"""What is freed deep inside other objects, where the interpreter frees the innermost ones later."""

import os
import subprocess
import sys

import pytest

from cmux_proxy._build import COMPILED

# The interpreter checks the bytes around each object that it frees.
CHECKED = {**os.environ, "PYTHONMALLOC": "debug"}
FREE_EACH = """
from cmux_proxy.http1.head_limits import HeadLimits
from cmux_proxy.http1.reserved_fields import ReservedFields
from cmux_proxy.http1.scan import RequestScanner, ResponseScanner
from cmux_proxy.http2.header_field import HeaderField
from cmux_proxy.http2.line_memory import EncodedLine
from cmux_proxy.net.unread_bytes import UnreadBytes
from cmux_proxy.relay.client_request import ClientRequest

limits = HeadLimits(1000, 1000, 10)
requests = RequestScanner(limits, ReservedFields(b"x-test-", b"-secret"))
responses = ResponseScanner(limits)
makers = {
    "HeaderField": lambda: HeaderField(b"a", b"b"),
    "EncodedLine": lambda: EncodedLine(b"", 1),
    "UnreadBytes": UnreadBytes,
    "ClientRequest": ClientRequest,
    "RequestHead": lambda: requests.scan(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n", 0),
    "ResponseHead": lambda: responses.scan(b"HTTP/1.1 200 OK\\r\\n\\r\\n", 0),
}
for name, make in makers.items():
    for depth in range(40, 60):
        # One instance of some classes is kept to be used again.
        outer = [make(), make(), make()]
        for _ in range(depth):
            outer = [outer]
        del outer
    print(name)
"""


@pytest.mark.skipif(not COMPILED, reason="the pure build has no such classes")
def test_compiled_objects_may_be_freed_at_any_depth() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FREE_EACH], env=CHECKED, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) == 6
