"""``python -m ropewalk PROGRAM``: runs an unmodified Twisted program on ropewalk.

The reactor is installed first, then the program runs as Python itself would run it: under the name
``__main__``, with its own ``sys.argv`` and ``sys.path``.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable
from importlib import import_module
from typing import NoReturn

__all__ = ["main"]

_USAGE = """\
usage: python -m ropewalk [--reactor NAME] SCRIPT [ARGUMENT ...]
       python -m ropewalk [--reactor NAME] -m MODULE [ARGUMENT ...]
       python -m ropewalk [--reactor NAME] -c CODE [ARGUMENT ...]

Installs ropewalk's reactor for Twisted, then runs the program.

  SCRIPT          a file, or a directory or zip file with a __main__.py
  --reactor NAME  one of {names}; without it, the best
                  poller of this system, or the one that $ROPEWALK_POLLER names
"""

#: The modules that install a reactor, by the names for ``--reactor``.
_MODULES = {
    "default": "ropewalk.default",
    "epoll": "ropewalk.epollreactor",
    "kqueue": "ropewalk.kqreactor",
    "poll": "ropewalk.pollreactor",
    "select": "ropewalk.selectreactor",
    "asyncio": "ropewalk.asyncioreactor",
}

_NAMES = ", ".join(_MODULES)


def main(arguments: list[str]) -> None:
    """Run what ``arguments`` (without the program's own name) say."""
    reactor, rest = "default", list(arguments)
    while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c"):
        option = rest.pop(0)
        if option in ("-h", "--help"):
            print(_USAGE.format(names=_NAMES), end="")
            return
        name, equals, value = option.partition("=")
        if name != "--reactor":
            _refuse(f"unknown option {option}")
        if not equals:
            value = rest.pop(0) if rest else ""
        # The names of the plugins are fine as well.
        reactor = {"ropewalk": "default"}.get(value, value.removeprefix("ropewalk-"))
        if reactor not in _MODULES:
            _refuse(f"--reactor wants one of {_NAMES}, not {value!r}")
    if not rest:
        _refuse("no program to run")
    run = _program(rest)
    try:
        install = import_module(_MODULES[reactor]).install
        install()
    except (ImportError, OSError, ValueError) as error:
        _fail(f"cannot install the {reactor} reactor: {error}")
    run()


def _program(arguments: list[str]) -> Callable[[], object]:
    """What runs the program, with ``sys.argv`` and ``sys.path`` as it shall find them."""
    first, *rest = arguments
    if first in ("-m", "-c"):
        if not rest:
            _refuse(f"{first} wants an argument")
        target, *rest = rest
        if first == "-c":
            sys.argv = ["-c", *rest]
            return lambda: _run_code(target)
        sys.argv = [target, *rest]
        return lambda: runpy.run_module(target, run_name="__main__", alter_sys=True)
    if not os.path.exists(first):
        _fail(f"can't open file {first!r}: no such file or directory")
    sys.argv = [first, *rest]
    if os.path.isfile(first) and not getattr(sys.flags, "safe_path", False):
        # As for any script: its directory in the place of the current one.
        sys.path[0] = os.path.dirname(os.path.realpath(first))
    return lambda: runpy.run_path(first, run_name="__main__")


def _run_code(code: str) -> None:
    module = type(sys)("__main__")
    sys.modules["__main__"] = module
    exec(compile(code, "<string>", "exec"), module.__dict__)


def _refuse(reason: str) -> NoReturn:
    print(f"{_USAGE.format(names=_NAMES)}\npython -m ropewalk: {reason}", file=sys.stderr)
    raise SystemExit(2)


def _fail(reason: str) -> NoReturn:
    print(f"python -m ropewalk: {reason}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
