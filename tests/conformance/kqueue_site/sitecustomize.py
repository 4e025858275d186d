"""Gives every Python process that has this directory in PYTHONPATH a kqueue.

asyncio and subprocess choose their selector when `selectors` is imported. It is imported before,
so that they stay with what this system has.
"""

import selectors  # noqa: F401
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
try:
    import kqueue_stand_in
finally:
    del sys.path[0]

kqueue_stand_in.inject()
