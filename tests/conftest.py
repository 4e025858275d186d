"""Fixtures of all tests."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from support import REACTORS, own_children, own_descriptors


@pytest.fixture(params=REACTORS)
def reactor_name(request: pytest.FixtureRequest) -> str:
    """The --reactor name of each ropewalk reactor in turn."""
    return request.param


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail a test that leaves a descriptor, a child process or a thread behind."""
    descriptors = own_descriptors()
    children = own_children()
    threads = set(threading.enumerate())
    yield
    gc.collect()
    left = {n: t for n, t in own_descriptors().items() if descriptors.get(n) != t}
    assert not left, f"descriptors left open: {left}"
    assert not own_children() - children, "child processes left"
    # pytest-timeout's own timer thread belongs to the test that it watches.
    alive = [t for t in set(threading.enumerate()) - threads if not isinstance(t, threading.Timer)]
    assert not alive, f"threads left: {alive}"
