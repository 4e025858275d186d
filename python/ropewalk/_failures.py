"""Reports of failed callbacks: what native code hands over, logged as Twisted's reactors do.

Each function raises the exception again under the handler that Twisted's own reactor would have
had around the callback, so that the failure, its traceback and the log event are the same.
"""

from __future__ import annotations

import socket
from traceback import format_stack

from twisted.internet.base import _log, _threadCallHandler, _topHandler
from twisted.python import log


def callback(error: BaseException) -> None:
    """A descriptor's method, or disconnecting one, failed."""
    try:
        raise error
    except BaseException:
        log.err()


def log_prefix(error: BaseException) -> None:
    """A ``logPrefix`` method failed."""
    try:
        raise error
    except BaseException:
        log.err(system="(buggy logPrefix method)")


def thread_call(error: BaseException) -> None:
    """A function given to ``callFromThread`` failed."""
    with _threadCallHandler:
        raise error


def main_loop(error: BaseException) -> None:
    """A turn of the main loop failed outside any callback."""
    with _topHandler:
        raise error


def timed_call(error: BaseException, creator: list[str] | None) -> None:
    """A function given to ``callLater`` failed; ``creator`` is the stack that scheduled it."""
    text = "while handling timed call"
    if creator:
        stack = "".join(creator).rstrip().replace("\n", "\n C:")
        text = f"{text} \n C:  from a DelayedCall created here:\n C:{stack}\n"
    with _log.failuresHandled("{text}", text=text):
        raise error


def creation_stack() -> list[str]:
    """The stack of the ``callLater`` being made, without the frames of ropewalk."""
    return format_stack()[:-1]


def numeric_host(address: tuple[str, int, int, int]) -> str:
    """The host of an IPv6 address, with its scope as part of it."""
    return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]


def socket_from_descriptor(number: int) -> socket.socket:
    """A Python socket that owns the descriptor; family, type and protocol are asked of it."""
    return socket.socket(fileno=number)
