"""What is particular to select(2): closed descriptors spoil the call, and high ones its sets."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support import assert_same

HIGH_DESCRIPTOR = """
import fcntl, resource, socket

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))

from ropewalk import selectreactor

selectreactor.install()

from twisted.internet import reactor
from twisted.internet.abstract import FileDescriptor

near, far = socket.socketpair()
high = socket.socket(fileno=fcntl.fcntl(near, fcntl.F_DUPFD_CLOEXEC, 2000))


class Descriptor(FileDescriptor):
    def fileno(self):
        return high.fileno()

    def doRead(self):
        print(self.fileno() >= 2000, high.recv(100).decode())
        reactor.addWriter(self)
        reactor.removeReader(self)

    def doWrite(self):
        print("writes")
        reactor.removeWriter(self)
        reactor.stop()


reactor.addReader(Descriptor(reactor))
far.send(b"reads")
reactor.run()
"""


# Twisted's EPollReactor itself fails when such a descriptor is removed.
@pytest.mark.parametrize("reactor", ["ropewalk-kqueue", "ropewalk-poll", "ropewalk-select"])
def test_a_closed_descriptor_is_found_as_by_twisteds_reactor(reactor: str) -> None:
    assert_same("closed_behind", reactor)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have their limits")
def test_descriptors_beyond_fd_setsize_are_watched() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIGH_DESCRIPTOR], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "True reads\nwrites\n", done.stderr
