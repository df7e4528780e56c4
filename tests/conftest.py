"""The number of examples of property tests, and default signals for programs that tests start.

HYPOTHESIS_PROFILE is dev (the default), ci or nightly.
"""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

_EXAMPLES = {"dev": 50, "ci": 300, "nightly": 5000}

for _name, _examples in _EXAMPLES.items():
    settings.register_profile(_name, max_examples=_examples, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# A shell ignores SIGINT for background jobs, and nohup ignores SIGHUP; programs inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

_PROPERTIES = Path(__file__).parent / "properties"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give properties the time that many examples take on a busy machine."""
    for item in items:
        if item.path.is_relative_to(_PROPERTIES):
            item.add_marker(pytest.mark.timeout(600))
