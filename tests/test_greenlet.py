"""The reactor inside a greenlet, as pytest-twisted runs it."""

from support import assert_same


def test_callbacks_switch_to_the_main_greenlet_and_back(reactor_name: str) -> None:
    assert_same("greenlets", reactor_name)
