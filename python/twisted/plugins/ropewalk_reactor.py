"""Makes ropewalk's reactors known to ``--reactor`` of twist, twistd and trial."""

# Nothing of ropewalk is imported here: a plugin is loaded by every program that lists plugins.
from twisted.application.reactors import Reactor

ropewalk = Reactor(
    "ropewalk",
    "ropewalk.default",
    "Native reactor of ropewalk on the best poller of this platform",
)

ropewalk_epoll = Reactor(
    "ropewalk-epoll",
    "ropewalk.epollreactor",
    "Native reactor of ropewalk on epoll(7)",
)

ropewalk_poll = Reactor(
    "ropewalk-poll",
    "ropewalk.pollreactor",
    "Native reactor of ropewalk on poll(2)",
)

ropewalk_select = Reactor(
    "ropewalk-select",
    "ropewalk.selectreactor",
    "Native reactor of ropewalk on select(2)",
)

ropewalk_kqueue = Reactor(
    "ropewalk-kqueue",
    "ropewalk.kqreactor",
    "Native reactor of ropewalk on kqueue(2)",
)

ropewalk_asyncio = Reactor(
    "ropewalk-asyncio",
    "ropewalk.asyncioreactor",
    "Native reactor of ropewalk inside an asyncio event loop",
)
