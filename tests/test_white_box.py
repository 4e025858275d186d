"""The private attributes of Twisted's reactors, on ropewalk's."""

from support import assert_same


def test_they_tell_the_truth_and_can_be_replaced_as_twisteds(reactor_name: str) -> None:
    assert_same("white_box", reactor_name)
