"""The clock of records: `time.monotonic`, or its twin in `_fast_lines.pyx`.

The twin takes half as long. Only on Linux do both read the same clock for certain. Knows no record.
"""

import sys
from time import monotonic as monotonic

if sys.platform == "linux":
    try:
        from cmux_proxy.observe._fast_lines import monotonic as monotonic
    except ImportError:
        pass
