"""The reactor on poll(2)."""

from twisted.internet.main import installReactor

from ropewalk._reactor import RopewalkReactor

__all__ = ["PollReactor", "install"]


class PollReactor(RopewalkReactor):
    """A reactor that waits in poll(2)."""

    _pollerName = "poll"


def install() -> None:
    """Install this reactor as Twisted's global one."""
    installReactor(PollReactor())
