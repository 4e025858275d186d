"""The reactor on the best poller of this platform."""

from ropewalk.epollreactor import EPollReactor, install

__all__ = ["EPollReactor", "install"]
