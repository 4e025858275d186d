"""The ropewalk reactors, and Twisted's reactors whose places they take."""

from __future__ import annotations

from dataclasses import dataclass

from suite import HERE

#: Where Twisted's builders have a factory of asyncio reactors with a loop of their own each. It
#: makes whatever class stands in Twisted's module.
_ASYNCIO_FACTORY = "twisted.internet.test.reactormixins.AsyncioSelectorReactor"


@dataclass(frozen=True)
class Counterpart:
    """A ropewalk reactor class and Twisted's, which is the baseline that it is compared with."""

    ropewalk: str
    twisted: str
    #: The `--reactor` name of Twisted's; ropewalk's has a prefix.
    installed: str
    #: What Twisted's builders are to make instead of the class itself.
    factory: str | None = None
    #: Test modules that import the class by its name from Twisted's module.
    modules: tuple[str, ...] = ()
    #: Directories that all Python processes of a run have in their search path.
    site: tuple[str, ...] = ()
    #: Where this system lacks what the reactor waits in, and `site` has a stand-in: the class that
    #: shows whether the stand-in is right. Twisted's two reactors must end every test alike.
    calibration: str | None = None

    @property
    def substitutes(self) -> tuple[tuple[str, str], ...]:
        """What stands where in a run on ropewalk: the class is in its counterpart's place."""
        return ((self.twisted, self.ropewalk),)


COUNTERPARTS = [
    Counterpart(
        "ropewalk.epollreactor.EPollReactor",
        "twisted.internet.epollreactor.EPollReactor",
        "epoll",
        modules=("twisted.internet.test.test_epollreactor",),
    ),
    Counterpart(
        "ropewalk.pollreactor.PollReactor",
        "twisted.internet.pollreactor.PollReactor",
        "poll",
    ),
    Counterpart(
        "ropewalk.selectreactor.SelectReactor",
        "twisted.internet.selectreactor.SelectReactor",
        "select",
    ),
    Counterpart(
        "ropewalk.kqreactor.KQueueReactor",
        "twisted.internet.kqreactor.KQueueReactor",
        "kqueue",
        modules=("twisted.internet.test.test_kqueuereactor",),
        site=(str(HERE / "kqueue_site"),),
        calibration="twisted.internet.epollreactor.EPollReactor",
    ),
    Counterpart(
        "ropewalk.asyncioreactor.AsyncioSelectorReactor",
        "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
        "asyncio",
        factory=_ASYNCIO_FACTORY,
        modules=("twisted.internet.test.test_asyncioreactor",),
    ),
]

#: The names that choose a reactor by the platform, and what they choose here.
CHOOSING = {"ropewalk": "epoll"}


def by_class(name: str) -> Counterpart:
    """The counterpart of a ropewalk class."""
    for counterpart in COUNTERPARTS:
        if counterpart.ropewalk == name:
            return counterpart
    raise SystemExit(f"no such class: {name}; {', '.join(c.ropewalk for c in COUNTERPARTS)}")


def by_name(name: str) -> Counterpart:
    """The counterpart of a `--reactor` name."""
    installed = CHOOSING.get(name, name.removeprefix("ropewalk-"))
    for counterpart in COUNTERPARTS:
        if counterpart.installed == installed:
            return counterpart
    names = [*CHOOSING, *(f"ropewalk-{c.installed}" for c in COUNTERPARTS)]
    raise SystemExit(f"no such reactor: {name}; {', '.join(names)}")
