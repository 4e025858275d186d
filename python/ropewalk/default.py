"""The reactor on the best poller that this system grants, or on ``$ROPEWALK_POLLER``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from twisted.logger import Logger

from ropewalk._ropewalk import choose_poller

__all__ = ["install"]

_log = Logger()

#: The module of each poller's reactor, and the class there.
_REACTORS = {
    "epoll": ("ropewalk.epollreactor", "EPollReactor"),
    "kqueue": ("ropewalk.kqreactor", "KQueueReactor"),
    "poll": ("ropewalk.pollreactor", "PollReactor"),
    "select": ("ropewalk.selectreactor", "SelectReactor"),
}


def install() -> None:
    """Install the reactor on the best poller as Twisted's global one.

    ``ValueError`` if the environment variable ``ROPEWALK_POLLER`` names a poller that this system
    does not have; ``OSError`` if the system refuses the named one, or all.
    """
    poller = choose_poller()
    import_module(_REACTORS[poller][0]).install()
    _log.debug("The reactor waits in {poller}.", poller=poller)


def __getattr__(name: str) -> Any:
    """The classes of the reactors that may be installed, for who imports one from here."""
    for module, reactor in _REACTORS.values():
        if reactor == name:
            return getattr(import_module(module), reactor)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
