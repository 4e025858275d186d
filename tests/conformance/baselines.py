"""The results of Twisted's own reactors, kept between runs."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from importlib.metadata import distributions
from pathlib import Path

import twisted
from suite import HERE, Results, TrialRun

CACHE = HERE.parent.parent / "build" / "conformance"

#: Baselines run or found by this process, by file.
_FOUND: dict[Path, Results] = {}


def cached(run: TrialRun, label: str, fresh: bool) -> Results:
    """The baseline's results, from this process, from the cache, or newly run."""
    # Which tests skip themselves depends on the packages that are installed and on the way to run.
    packages = {f"{d.name}=={d.version}" for d in distributions() if d.name != "ropewalk"}
    ways = [(HERE / file).read_text() for file in (*_WAYS, *(_STAND_IN if run.site else ()))]
    key = " ".join([*run.names, *sorted(packages), *ways])
    names = hashlib.sha256(key.encode()).hexdigest()[:8]
    version = f"twisted-{twisted.__version__}-{sys.implementation.name}-{platform.python_version()}"
    path = CACHE / version / f"{run.installed}-{label}-{names}.json"
    if path not in _FOUND:
        if fresh or not path.exists():
            results = run.run()
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_suffix(f".{os.getpid()}")
            new.write_text(results.to_json())
            new.replace(path)
        _FOUND[path] = Results.from_json(path.read_text())
    return _FOUND[path]


#: The files that decide how a test ends, and those that do where a run has a stand-in.
_WAYS = ("launcher.py", "recorder.py", "suite.py")
_STAND_IN = ("kqueue_readiness.py", "kqueue_stand_in.py")
