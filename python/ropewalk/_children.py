"""Descriptions of children: which can be made natively, and how they are told to native code.

Nothing here makes a child. What cannot be described so that it is known to mean the same is
refused, with :class:`NotPlain`, and left to Twisted's class.
"""

from __future__ import annotations

import os
import pwd
import signal
import sys
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from twisted.internet import _baseprocess, process
from twisted.python import util

from ropewalk import _ropewalk


class NotPlain(Exception):
    """Why a description is not one that is known to mean the same natively."""


def describe(
    executable: Any, args: Any, env: Any, path: Any, uid: Any, gid: Any, inTerminal: bool
) -> tuple[Any, ...]:
    """The program, as ``spawn_child`` takes it."""
    if not isinstance(args, (list, tuple)) or not args or not args[0]:
        raise NotPlain("it has no list of arguments")
    directory = None
    if path is not None and os.path.abspath(path) != os.path.abspath("."):
        directory = os.fsencode(path)
    identity = None
    if uid is not None or gid is not None:
        identity = _identity(uid, gid)
    name = os.fsencode(executable)
    search = b""
    if b"/" not in name:
        # As Twisted's class has it: posix_spawnp(3) looks along our own path; os.execvpe, which
        # does the rest, along the child's.
        spawned = directory is None and identity is None and not inTerminal
        search = _searchPath(None if spawned else env)
    return name, args, _variables(env), search, directory, identity


def _searchPath(env: Any) -> bytes:
    if env is None:
        # What os.get_exec_path answers then, without its care for a mapping of bytes.
        return os.fsencode(os.environ.get("PATH", os.defpath))
    return b":".join(map(os.fsencode, os.get_exec_path(env)))


def _variables(env: Any) -> dict[Any, Any]:
    if env is None:
        env = os.environ
    if type(env) is _ENVIRON:
        # The bytes themselves: it would decode each for us to encode it again.
        return env._data  # type: ignore[attr-defined]
    return env if type(env) is dict else dict(env.items())


_ENVIRON = type(os.environ)


def _identity(uid: Any, gid: Any) -> tuple[int, int, list[int]]:
    """User, group and groups of a child as Twisted's ``switchUID`` gives them to it."""
    if 0 not in (os.getuid(), os.geteuid()):
        raise NotPlain("only root can have it change its user")
    uid = os.geteuid() if uid is None else uid
    gid = os.getegid() if gid is None else gid
    for number in (uid, gid):
        if type(number) is not int or not 0 <= number < _NOBODYS:
            raise NotPlain(f"{number!r} is no user or group")
    if uid == 0:
        raise NotPlain("it stays root's, of which Twisted's class warns")
    if sys.platform == "darwin":
        raise NotPlain("the groups of a login are the system's own affair")
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        raise NotPlain(f"nobody knows user {uid}") from None
    return uid, gid, os.getgrouplist(name, gid)


#: -1, as the calls have it that leave one of several ids as it is.
_NOBODYS = 2**32 - 1


def plainDescriptors(childFDs: Any, proto: Any) -> dict[int, str | int]:
    """What the child is to have open, if it can."""
    if childFDs is None:
        childFDs = {0: "w", 1: "r", 2: "r"}
    if type(childFDs) is not dict:
        raise NotPlain("childFDs is no dict")
    for number, kind in childFDs.items():
        if type(number) is not int or number < 0:
            raise NotPlain(f"no descriptor has the number {number!r}")
        if type(kind) is int and kind >= 0:
            continue
        if kind not in ("r", "w") or not proto:
            raise NotPlain(f"{kind!r} is no descriptor, or there is no protocol for it")
    return childFDs


def whyTwisteds(reactor: Any) -> str | None:
    """Why Twisted's class is to make a child, whatever the child is; None if it is not to."""
    if getattr(reactor, "_neverUseSpawn", False):
        return "the reactor is told never to use anything like posix_spawn"
    for whatChanged in _ORIGINALS:
        name = whatChanged()
        if name is not None:
            return f"{name} is not Twisted's, or Python's, own any more"
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return "the child is to inherit a mask of signals"
    if not _ropewalk.can_watch_children():
        return "this system does not tell of the end of each child"
    return None


def _some(module: Any, *names: str) -> Callable[[], str | None]:
    """Tells which of those names no longer stand for the same in a module."""
    namespace = vars(module)
    present = [name for name in names if name in namespace]
    # The first twice: a tuple of one as well.
    values = itemgetter(*present, present[0])
    before = values(namespace)

    def whatChanged() -> str | None:
        # One comparison in native code, for every spawn has to make it.
        try:
            if values(namespace) == before:
                return None
        except KeyError:
            pass
        pairs = zip(present, before, strict=False)
        return next((name for name, value in pairs if namespace.get(name) is not value), None)

    return whatChanged


def _all(owner: type) -> Callable[[], str | None]:
    """Tells what in a class no longer stands for the same, or is new there."""
    namespace = vars(owner)
    before = dict(namespace)

    def whatChanged() -> str | None:
        nonlocal before
        if namespace == before:
            return None
        for name in namespace.keys() | before.keys():
            if name.startswith("__") and name != "__init__":
                # The interpreter and zope.interface keep things there, from their first use on.
                continue
            if namespace.get(name, whatChanged) is not before.get(name, whatChanged):
                return name
        before = dict(namespace)
        return None

    return whatChanged


#: What Twisted's class makes a child of. Whoever replaces any of it (Twisted's own tests do) wants
#: to have it called.
_ORIGINALS = (
    _some(
        process,
        "Process",
        "PTYProcess",
        "ProcessReader",
        "ProcessWriter",
        "_BaseProcess",
        "abstract",
        "error",
        "fcntl",
        "fdesc",
        "gc",
        "io",
        "os",
        "pty",
        "reapProcessHandlers",
        "registerReapProcessHandler",
        "signal",
        "stat",
        "switchUID",
        "sys",
        "termios",
        "traceback",
        "unregisterReapProcessHandler",
        "_getFileActions",
        "_listOpenFDs",
    ),
    _all(process.Process),
    _all(process.PTYProcess),
    _all(process.ProcessReader),
    _all(process.ProcessWriter),
    _all(process._BaseProcess),
    _all(_baseprocess.BaseProcess),
    _some(util, "initgroups", "os", "pwd", "_initgroups"),
    _some(pwd, "getpwuid"),
    *([_some(process.pty, "openpty")] if process.pty else []),
    _some(
        os,
        "_exit",
        "chdir",
        "close",
        "dup",
        "dup2",
        "execvpe",
        "fork",
        "getegid",
        "geteuid",
        "getuid",
        "initgroups",
        "kill",
        "openpty",
        "pipe",
        "posix_spawnp",
        "setgid",
        "setuid",
        "waitpid",
    ),
)
