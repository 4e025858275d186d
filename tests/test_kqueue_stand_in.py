"""The kqueue stand-in keeps the documented rules of kqueue(2), one test per rule."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent / "conformance"
sys.path.insert(0, str(HERE))

import kqueue_stand_in as kq  # noqa: E402
from kqueue_readiness import (  # noqa: E402
    EV_EOF,
    EVFILT_READ,
    EVFILT_WRITE,
    NOTE_FILE_POLL,
)
from kqueue_stand_in import kevent  # noqa: E402


@pytest.fixture
def queue() -> Iterator[kq.kqueue]:
    found = kq.kqueue()
    yield found
    found.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture
def tcp() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as port:
        one = socket.create_connection(port.getsockname())
        other, _ = port.accept()
    with one, other:
        yield one, other


def add(queue: kq.kqueue, ident: object, filter: int = EVFILT_READ, flags: int = 0) -> None:
    queue.control([kevent(ident, filter, kq.EV_ADD | flags)], 0)


def seen(queue: kq.kqueue, room: int = 16, timeout: float = 0) -> list[tuple[int, int]]:
    return [(event.ident, event.filter) for event in queue.control(None, room, timeout)]


def reset(sock: socket.socket) -> None:
    """Close a connection with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# Registrations


def test_reading_and_writing_are_separate_registrations_and_events(queue, pair) -> None:
    one, other = pair
    other.send(b"x")
    add(queue, one, EVFILT_READ)
    add(queue, one, EVFILT_WRITE)
    assert sorted(seen(queue)) == [(one.fileno(), EVFILT_WRITE), (one.fileno(), EVFILT_READ)]


def test_adding_again_updates_and_does_not_duplicate(queue, pair) -> None:
    one, other = pair
    other.send(b"x")
    for udata in (1, 2):
        queue.control([kevent(one, EVFILT_READ, kq.EV_ADD, udata=udata)], 0)
    (event,) = queue.control(None, 16, 0)
    assert event.udata == 2


def test_udata_comes_back_unchanged(queue, pair) -> None:
    queue.control([kevent(pair[0], EVFILT_WRITE, kq.EV_ADD, udata=2**64 - 1)], 0)
    assert queue.control(None, 1, 0)[0].udata == 2**64 - 1


@pytest.mark.parametrize("flag", [kq.EV_DELETE, kq.EV_ENABLE, kq.EV_DISABLE])
def test_changing_what_was_not_added_is_enoent(queue, pair, flag: int) -> None:
    add(queue, pair[0], EVFILT_WRITE)
    with pytest.raises(FileNotFoundError):
        queue.control([kevent(pair[0], EVFILT_READ, flag)], 0)


@pytest.mark.parametrize("flag", [kq.EV_ADD, kq.EV_DELETE])
def test_any_change_for_a_closed_descriptor_is_ebadf(queue, pair, flag: int) -> None:
    number = pair[0].fileno()
    add(queue, number)
    pair[0].close()
    with pytest.raises(OSError) as found:
        queue.control([kevent(number, EVFILT_READ, flag)], 0)
    assert found.value.errno == errno.EBADF


def test_a_negative_descriptor_cannot_be_named() -> None:
    with pytest.raises(OverflowError):
        kevent(-1)


def test_an_unknown_filter_is_einval(queue) -> None:
    with pytest.raises(OSError) as found:
        queue.control([kevent(0, -99, kq.EV_ADD)], 0)
    assert found.value.errno == errno.EINVAL


def test_close_removes_the_registration(queue, pair) -> None:
    one, other = pair
    add(queue, one)
    number = one.fileno()
    with socket.socket(fileno=os.dup(number)) as kept:
        other.send(b"x")
        one.close()
        assert seen(queue) == []
        # The number means another socket now, which nobody registered.
        os.dup2(other.fileno(), number)
        try:
            kept.send(b"y")
            assert seen(queue) == []
            with pytest.raises(FileNotFoundError):
                queue.control([kevent(number, EVFILT_READ, kq.EV_DELETE)], 0)
        finally:
            os.close(number)


def test_deleting_drops_an_event_that_was_there(queue, pair) -> None:
    add(queue, pair[0], EVFILT_WRITE)
    assert queue.control([kevent(pair[0], EVFILT_WRITE, kq.EV_DELETE)], 16, 0) == []


def test_disabled_is_silent_until_enabled_or_added_again(queue, pair) -> None:
    add(queue, pair[0], EVFILT_WRITE, kq.EV_DISABLE)
    assert seen(queue) == []
    for flag in (kq.EV_ENABLE, kq.EV_ADD):
        queue.control([kevent(pair[0], EVFILT_WRITE, flag)], 0)
        assert len(seen(queue)) == 1
        queue.control([kevent(pair[0], EVFILT_WRITE, kq.EV_DISABLE)], 0)
        assert seen(queue) == []


# Errors and answers


def test_an_error_becomes_an_event_when_there_is_room_and_later_changes_are_made(
    queue, pair
) -> None:
    changes = [
        kevent(pair[0], EVFILT_READ, kq.EV_DELETE, udata=7),
        kevent(pair[0], EVFILT_WRITE, kq.EV_ADD),
    ]
    (answer,) = queue.control(changes, 16, None)  # it does not wait, and tells nothing else
    assert (answer.flags, answer.data, answer.udata) == (kq.EV_ERROR, errno.ENOENT, 7)
    assert seen(queue) == [(pair[0].fileno(), EVFILT_WRITE)]


def test_an_error_is_raised_when_there_is_no_room_and_later_changes_are_lost(queue, pair) -> None:
    changes = [
        kevent(pair[0], EVFILT_READ, kq.EV_DELETE),
        kevent(pair[0], EVFILT_WRITE, kq.EV_ADD),
    ]
    with pytest.raises(FileNotFoundError):
        queue.control(changes, 0)
    assert seen(queue) == []


def test_a_receipt_answers_every_change_with_zero(queue, pair) -> None:
    changes = [kevent(pair[0], f, kq.EV_ADD | kq.EV_RECEIPT) for f in (EVFILT_READ, EVFILT_WRITE)]
    answers = queue.control(changes, 2, None)
    assert [(a.filter, a.flags, a.data) for a in answers] == [
        (EVFILT_READ, kq.EV_ERROR, 0),
        (EVFILT_WRITE, kq.EV_ERROR, 0),
    ]


# Event lists and time


def test_no_room_returns_at_once_whatever_the_timeout(queue, pair) -> None:
    add(queue, pair[0], EVFILT_WRITE)
    assert queue.control(None, 0, 3600) == []
    assert queue.control(None, 0, None) == []


def test_a_small_event_list_gets_to_every_registration_in_turn(queue, pair) -> None:
    for end in pair:
        add(queue, end, EVFILT_WRITE)
    first, second, third = (seen(queue, 1)[0] for _ in range(3))
    assert first != second and first == third


def test_what_is_ready_is_told_again_until_it_is_taken(queue, pair) -> None:
    one, other = pair
    other.send(b"x")
    add(queue, one)
    assert len(seen(queue)) == len(seen(queue)) == 1
    one.recv(1)
    assert seen(queue) == []


def test_negative_lengths_and_times_are_refused(queue) -> None:
    with pytest.raises(ValueError):
        queue.control(None, -1)
    with pytest.raises(ValueError):
        queue.control(None, 1, -1)


def test_a_timeout_is_waited_for_whole(queue, pair) -> None:
    add(queue, pair[0])
    begun = time.monotonic()
    assert queue.control(None, 1, 0.0104) == []
    assert time.monotonic() - begun >= 0.0104


def test_a_wait_ends_with_its_event(queue, pair) -> None:
    add(queue, pair[0])
    sender = threading.Timer(0.05, pair[1].send, [b"x"])
    sender.start()
    assert seen(queue, timeout=60) == [(pair[0].fileno(), EVFILT_READ)]
    sender.join()


def test_a_wait_sees_what_another_thread_adds(queue, pair) -> None:
    adder = threading.Timer(0.05, add, [queue, pair[0], EVFILT_WRITE])
    adder.start()
    assert seen(queue, timeout=60) == [(pair[0].fileno(), EVFILT_WRITE)]
    adder.join()


def test_a_signal_runs_its_handler_and_the_wait_goes_on(queue, pair) -> None:
    # As CPython's own does; the system's EINTR never shows.
    add(queue, pair[0])
    before = signal.signal(signal.SIGALRM, lambda *_: pair[1].send(b"x"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert seen(queue, timeout=60) == [(pair[0].fileno(), EVFILT_READ)]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_handler_that_raises_ends_the_wait_after_the_changes_were_made(queue, pair) -> None:
    def interrupt(*_: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(InterruptedError):
            queue.control([kevent(pair[0])], 1, 60)
    finally:
        signal.signal(signal.SIGALRM, before)
    pair[1].send(b"x")
    assert len(seen(queue)) == 1


# Flags of a registration


def test_oneshot_deletes_after_its_event(queue, pair) -> None:
    add(queue, pair[0], EVFILT_WRITE, kq.EV_ONESHOT)
    assert len(seen(queue)) == 1
    with pytest.raises(FileNotFoundError):
        queue.control([kevent(pair[0], EVFILT_WRITE, kq.EV_DELETE)], 0)


def test_dispatch_disables_after_its_event(queue, pair) -> None:
    add(queue, pair[0], EVFILT_WRITE, kq.EV_DISPATCH)
    assert len(seen(queue)) == 1 and seen(queue) == []
    queue.control([kevent(pair[0], EVFILT_WRITE, kq.EV_ENABLE)], 0)
    assert len(seen(queue)) == 1


def test_clear_tells_of_new_activity_alone(queue, pair) -> None:
    one, other = pair
    add(queue, one, EVFILT_READ, kq.EV_CLEAR)
    other.send(b"x")
    assert len(seen(queue)) == 1 and seen(queue) == []
    other.send(b"y")
    assert len(seen(queue)) == 1 and seen(queue) == []
    one.recv(2)
    assert seen(queue) == []
    other.send(b"zz")
    assert len(seen(queue, timeout=60)) == 1


# What the descriptors say


def test_reading_tells_how_many_bytes_there_are(queue, pair) -> None:
    pair[1].send(b"abc")
    (event,) = queue.control([kevent(pair[0])], 0) or queue.control(None, 1, 0)
    assert event.data == 3 and not event.flags & EV_EOF


def test_a_listening_socket_tells_its_backlog(queue) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=5) as port:
        add(queue, port)
        assert seen(queue) == []
        clients = [socket.create_connection(port.getsockname()) for _ in range(3)]
        assert queue.control(None, 1, 60)[0].data == 3
        for client in clients:
            client.close()


def test_writing_tells_how_much_room_there_is(queue, tcp) -> None:
    one, _ = tcp
    add(queue, one, EVFILT_WRITE)
    assert queue.control(None, 1, 0)[0].data > 1000
    one.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            one.send(bytes(65536))
    assert seen(queue) == []


def test_the_end_of_input_shows_with_what_is_unread(queue, tcp) -> None:
    one, other = tcp
    other.send(b"abc")
    other.shutdown(socket.SHUT_WR)
    add(queue, one)
    event = queue.control(None, 1, 60)[0]
    while not event.flags & EV_EOF:  # the data came before the end
        event = queue.control(None, 1, 60)[0]
    assert (event.data, event.fflags) == (3, 0)


def test_a_reset_shows_its_error_and_leaves_it_to_the_socket(queue, tcp) -> None:
    one, other = tcp
    add(queue, one, EVFILT_READ)
    add(queue, one, EVFILT_WRITE)
    reset(other)
    events = {event.filter: event for event in queue.control(None, 2, 60)}
    while not events.get(EVFILT_READ):
        events = {event.filter: event for event in queue.control(None, 2, 60)}
    for filter in (EVFILT_READ, EVFILT_WRITE):
        event = {e.filter: e for e in queue.control(None, 2, 60)}[filter]
        assert event.flags & EV_EOF and event.fflags == errno.ECONNRESET
    with pytest.raises(ConnectionResetError):
        one.recv(1)


def test_a_refused_connection_is_an_end_with_its_error(queue) -> None:
    with socket.create_server(("127.0.0.1", 0)) as port:
        address = port.getsockname()
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(address)
        add(queue, client, EVFILT_WRITE)
        event = queue.control(None, 1, 60)[0]
        assert event.flags & EV_EOF and event.fflags == errno.ECONNREFUSED
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


def test_a_datagram_sockets_error_is_no_end(queue) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        address = gone.getsockname()
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        sender.send(b"x")
        add(queue, sender)
        event = queue.control(None, 1, 60)[0]
        assert not event.flags & EV_EOF and event.fflags == 0


def test_the_own_shutdown_ends_writing(queue, tcp) -> None:
    add(queue, tcp[0], EVFILT_WRITE)
    tcp[0].shutdown(socket.SHUT_WR)
    assert queue.control(None, 1, 60)[0].flags & EV_EOF


def test_a_pipe_whose_reader_is_gone_ends_writing(queue) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        add(queue, write, EVFILT_WRITE)
        assert queue.control(None, 1, 60)[0].flags & EV_EOF
    finally:
        os.close(write)


def test_a_pipe_whose_writer_is_gone_ends_reading_with_what_is_unread(queue) -> None:
    read, write = os.pipe()
    os.write(write, b"abc")
    os.close(write)
    try:
        add(queue, read)
        event = queue.control(None, 1, 60)[0]
        assert event.flags & EV_EOF and event.data == 3
    finally:
        os.close(read)


def test_a_file_is_readable_up_to_its_end(queue, tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with path.open("rb", buffering=0) as file:
        add(queue, file)
        assert queue.control(None, 1, 0)[0].data == 3
        file.read()
        assert seen(queue) == []
        with path.open("ab") as more:
            more.write(b"de")
        assert queue.control(None, 1, 60)[0].data == 2
        file.read()
        queue.control([kevent(file, EVFILT_READ, kq.EV_ADD, NOTE_FILE_POLL)], 0)
        assert len(seen(queue)) == 1


# EVFILT_USER


def test_a_user_event_waits_for_its_trigger(queue) -> None:
    add(queue, 5, kq.EVFILT_USER, kq.EV_CLEAR)
    assert seen(queue) == []
    trigger = kevent(5, kq.EVFILT_USER, 0, kq.NOTE_TRIGGER)
    for _ in range(3):
        queue.control([trigger], 0)
    assert seen(queue) == [(5, kq.EVFILT_USER)]
    assert seen(queue) == []


def test_a_user_event_wakes_a_wait_of_another_thread(queue) -> None:
    add(queue, 5, kq.EVFILT_USER, kq.EV_CLEAR)
    trigger = [kevent(5, kq.EVFILT_USER, 0, kq.NOTE_TRIGGER)]
    thread = threading.Timer(0.05, queue.control, [trigger, 0])
    thread.start()
    assert seen(queue, timeout=60) == [(5, kq.EVFILT_USER)]
    thread.join()


def test_a_user_events_flags_are_combined(queue) -> None:
    add(queue, 5, kq.EVFILT_USER, kq.EV_CLEAR)
    steps = [(kq.NOTE_FFCOPY, 0b1100), (kq.NOTE_FFAND, 0b0110), (kq.NOTE_FFOR, 0b0001), (0, 0b1000)]
    for how, flags in steps:
        queue.control([kevent(5, kq.EVFILT_USER, 0, how | flags)], 0)
    queue.control([kevent(5, kq.EVFILT_USER, 0, kq.NOTE_TRIGGER)], 0)
    assert queue.control(None, 1, 0)[0].fflags == 0b0101


# The queue itself


def test_a_closed_queue_is_of_no_use(queue) -> None:
    queue.close()
    assert queue.closed
    queue.close()
    for use in (queue.fileno, lambda: queue.control(None, 0)):
        with pytest.raises(ValueError):
            use()


def test_a_child_does_not_inherit_it(queue) -> None:
    number = queue.fileno()
    child = os.fork()
    if child == 0:
        try:
            os.fstat(number)
            gone = False
        except OSError:
            gone = queue.closed
        os._exit(0 if gone else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert queue.fileno() == number
