"""The reactor on epoll(7)."""

from twisted.internet.main import installReactor

from ropewalk._reactor import RopewalkReactor

__all__ = ["EPollReactor", "install"]


class EPollReactor(RopewalkReactor):
    """A reactor that waits in epoll(7)."""

    _pollerName = "epoll"


def install() -> None:
    """Install this reactor as Twisted's global one."""
    installReactor(EPollReactor())
