"""What EVFILT_READ and EVFILT_WRITE say of a descriptor, out of what poll(2) says."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import stat
import struct
import termios
from dataclasses import dataclass, field

EVFILT_READ = -1
EVFILT_WRITE = -2

EV_EOF = 0x8000

NOTE_FILE_POLL = 0x0002


@dataclass(frozen=True)
class Readiness:
    """The part of an event that its descriptor decides."""

    data: int
    eof: bool = False
    fflags: int = 0


@dataclass
class Target:
    """The open file that a descriptor refers to; equal to another one if it is the same file."""

    fd: int = field(compare=False)
    device: int
    inode: int
    kind: int
    #: Whether a connection was established at some time.
    was_connected: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, fd: int) -> Target | None:
        """What `fd` refers to now; None if it is not open."""
        try:
            found = os.fstat(fd)
        except OSError:
            return None
        return cls(fd, found.st_dev, found.st_ino, stat.S_IFMT(found.st_mode))

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return self.kind == stat.S_IFREG

    def readiness(self, filter: int, fflags: int, polled: int) -> Readiness | None:
        """What the filter tells of it, if anything; `polled` is what poll(2) reported."""
        if self.is_file:
            return self._file(filter, fflags)
        wanted = select.POLLIN | select.POLLRDHUP if filter == EVFILT_READ else select.POLLOUT
        if not polled & (wanted | select.POLLHUP | select.POLLERR):
            return None
        if self.kind == stat.S_IFSOCK:
            # `fileno` makes an object of the same descriptor, which it must not close.
            sock = socket.socket(fileno=self.fd)
            try:
                return self._socket(sock, filter, polled)
            finally:
                sock.detach()
        ended = polled & (select.POLLHUP | select.POLLERR)
        if filter == EVFILT_READ:
            return Readiness(_count(self.fd, termios.FIONREAD), bool(ended))
        return Readiness(self._room(), bool(ended))

    def _file(self, filter: int, fflags: int) -> Readiness | None:
        """A file: readable but at its end, always writable."""
        if filter == EVFILT_WRITE:
            return Readiness(0)
        rest = os.fstat(self.fd).st_size - os.lseek(self.fd, 0, os.SEEK_CUR)
        return Readiness(rest) if rest or fflags & NOTE_FILE_POLL else None

    def _room(self) -> int:
        """Bytes that a pipe or a terminal takes."""
        try:
            size = fcntl.fcntl(self.fd, fcntl.F_GETPIPE_SZ)
        except OSError:
            return select.PIPE_BUF
        return max(size - _count(self.fd, termios.FIONREAD), 0)

    def _socket(self, sock: socket.socket, filter: int, polled: int) -> Readiness:
        stream = sock.type != socket.SOCK_DGRAM
        hung_up = bool(polled & select.POLLHUP)
        failed = bool(polled & select.POLLERR)
        self._note_connection(sock, failed)
        # A datagram socket's error is a passing one, and no end.
        ended = stream and (hung_up or failed)
        fflags = 0
        if failed and stream:
            fflags = errno.ECONNRESET if self.was_connected else errno.ECONNREFUSED
        if filter == EVFILT_WRITE:
            size = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            room = max(size - _count(self.fd, termios.TIOCOUTQ), 0)
            return Readiness(room, ended or _is_shut_down(sock), fflags)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return Readiness(_backlog(sock))
        ended = ended or bool(polled & select.POLLRDHUP)
        return Readiness(_count(self.fd, termios.FIONREAD), ended, fflags)

    def _note_connection(self, sock: socket.socket, failed: bool) -> None:
        if self.was_connected:
            return
        try:
            sock.getpeername()
            self.was_connected = True
        except OSError:
            # A connection that broke has no peer any more, but received or sent something.
            self.was_connected = failed and _tcp_info(sock, _BYTES_ACKED) > 0


def _count(fd: int, request: int) -> int:
    """A number of bytes that ioctl(2) tells, or 0 where it does not."""
    try:
        return struct.unpack("i", fcntl.ioctl(fd, request, b"\0" * 4))[0]
    except OSError:
        return 0


def _is_shut_down(sock: socket.socket) -> bool:
    """Whether a TCP connection was shut down for writing by its owner."""
    return _tcp_info(sock, _STATE) in _SHUT_DOWN


def _backlog(sock: socket.socket) -> int:
    """The connections that wait to be accepted, of which there is one at least."""
    return max(_tcp_info(sock, _UNACKED), 1)


def _tcp_info(sock: socket.socket, where: tuple[str, int]) -> int:
    """A field of Linux's struct tcp_info; 0 for sockets that have none."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return 0
    layout, offset = where
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return 0
    return struct.unpack_from(layout, info, offset)[0] if len(info) > offset else 0


# Layout and offset in struct tcp_info: tcpi_state, tcpi_unacked (the backlog of a listening
# socket), tcpi_bytes_acked (which counts the peer's answer to the first segment).
_STATE = ("B", 0)
_UNACKED = ("I", 24)
_BYTES_ACKED = ("Q", 120)

# FIN_WAIT1, FIN_WAIT2, TIME_WAIT, LAST_ACK, CLOSING
_SHUT_DOWN = (4, 5, 6, 9, 11)
