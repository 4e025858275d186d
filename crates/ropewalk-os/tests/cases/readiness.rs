//! What is reported of a descriptor.

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ropewalk_os::{Interest, Readiness, Token, socket};
use ropewalk_testkit::{socket_pair, tcp_pair};

use crate::fixture::{Fixture, pipe};

const TOKEN: Token = Token::new(3, 5);

pub(crate) fn undrained_input_is_reported_again(fixture: &mut Fixture) {
    let (mut near, mut far) = socket_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    far.write_all(b"rope").unwrap();
    for _ in 0..3 {
        let events = fixture.wait_for_some();
        assert_eq!(events.len(), 1);
        assert_eq!(
            (events[0].token, events[0].readiness),
            (TOKEN, Readiness::READABLE)
        );
    }
    near.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(fixture.wait(Duration::ZERO), []);
}

pub(crate) fn an_idle_descriptor_is_not_reported(fixture: &mut Fixture) {
    let (near, _far) = socket_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    assert_eq!(fixture.wait(Duration::from_millis(2)), []);
}

pub(crate) fn reading_and_writing_are_one_event(fixture: &mut Fixture) {
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::BOTH)
        .unwrap();
    let events = fixture.wait_for_some();
    assert_eq!(events.len(), 1);
    assert_eq!(
        events[0].readiness,
        Readiness::READABLE | Readiness::WRITABLE
    );
}

pub(crate) fn only_what_was_asked_for_is_reported(fixture: &mut Fixture) {
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::WRITABLE)
        .unwrap();
    assert_eq!(fixture.wait_for_some()[0].readiness, Readiness::WRITABLE);
}

pub(crate) fn a_hang_up_is_reported_without_readability(fixture: &mut Fixture) {
    let (read, write) = pipe();
    fixture
        .watch(read.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    drop(write);
    let end = fixture.end(Readiness::HANGUP, Readiness::READABLE);
    assert_eq!(fixture.wait_for_some()[0].readiness, end);
}

pub(crate) fn a_hang_up_does_not_hide_unread_input(fixture: &mut Fixture) {
    let (read, mut write) = pipe();
    fixture
        .watch(read.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    write.write_all(b"rope").unwrap();
    drop(write);
    let both = Readiness::HANGUP | Readiness::READABLE;
    let end = fixture.end(both, Readiness::READABLE);
    assert_eq!(fixture.wait_for_some()[0].readiness, end);
}

pub(crate) fn a_closed_peer_is_readable_to_its_end(fixture: &mut Fixture) {
    let (mut near, far) = readable_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    drop(far);
    assert!(fixture.wait_for_some()[0].readiness.is_readable());
    near.read_exact(&mut [0; 4]).unwrap();
    assert!(fixture.wait_for_some()[0].readiness.is_readable());
    assert_eq!(near.read(&mut [0]).unwrap(), 0);
}

pub(crate) fn a_pipe_without_a_reader_is_an_error_to_its_writer(fixture: &mut Fixture) {
    let (read, write) = pipe();
    fixture
        .watch(write.as_raw_fd(), TOKEN, Interest::WRITABLE)
        .unwrap();
    assert_eq!(fixture.wait_for_some()[0].readiness, Readiness::WRITABLE);
    drop(read);
    let end = fixture.end(Readiness::ERROR, Readiness::WRITABLE);
    assert!(fixture.wait_for_some()[0].readiness.contains(end));
}

pub(crate) fn a_half_close_is_readable_and_no_hang_up(fixture: &mut Fixture) {
    let (near, far) = tcp_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    assert_eq!(fixture.wait_for_some()[0].readiness, Readiness::READABLE);
}

pub(crate) fn a_reset_is_reported_as_an_error(fixture: &mut Fixture) {
    let (near, far) = tcp_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::READABLE)
        .unwrap();
    socket::set_linger_zero(far.as_fd()).unwrap();
    drop(far);
    let readiness = fixture.wait_for_some()[0].readiness;
    let end = fixture.end(Readiness::ERROR | Readiness::HANGUP, Readiness::READABLE);
    assert!(readiness.contains(end), "{readiness:?}");
    let error = socket::recv(near.as_fd(), &mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

pub(crate) fn a_reset_is_reported_to_a_writer(fixture: &mut Fixture) {
    let (near, far) = tcp_pair();
    fill(near.as_fd());
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::WRITABLE)
        .unwrap();
    assert_eq!(fixture.wait(Duration::ZERO), []);
    socket::set_linger_zero(far.as_fd()).unwrap();
    drop(far);
    let readiness = fixture.wait_for_some()[0].readiness;
    let end = fixture.end(Readiness::ERROR, Readiness::WRITABLE);
    assert!(readiness.contains(end), "{readiness:?}");
    assert!(!readiness.is_readable(), "{readiness:?}");
}

pub(crate) fn a_full_socket_is_not_writable_until_drained(fixture: &mut Fixture) {
    let (near, mut far) = tcp_pair();
    fixture
        .watch(near.as_raw_fd(), TOKEN, Interest::WRITABLE)
        .unwrap();
    assert_eq!(fixture.wait_for_some()[0].readiness, Readiness::WRITABLE);
    let sent = fill(near.as_fd());
    assert_eq!(fixture.wait(Duration::ZERO), []);
    far.read_exact(&mut vec![0; sent]).unwrap();
    assert_eq!(fixture.wait_for_some()[0].readiness, Readiness::WRITABLE);
}

pub(crate) fn many_descriptors_are_all_reported(fixture: &mut Fixture) {
    const MANY: u32 = 1000;
    allow_descriptors(MANY + 200);
    // Linux limits how often nested epoll sets, such as hosting makes, watch the same file.
    let pipes: Vec<_> = (0..20).map(|_| pipe()).collect();
    for (_, write) in &pipes {
        let mut write = write;
        write.write_all(b"rope").unwrap();
    }
    let ends: Vec<_> = (0..MANY as usize)
        .map(|number| pipes[number % pipes.len()].0.try_clone().unwrap())
        .collect();
    for (slot, end) in (0..).zip(&ends) {
        let token = Token::new(slot, 0);
        fixture
            .watch(end.as_raw_fd(), token, Interest::READABLE)
            .unwrap();
    }
    let mut seen = HashSet::new();
    let mut waits = 0;
    // A buffer that came back full is grown: a few waits see everything, and then one does.
    while seen.len() < MANY as usize {
        let events = fixture.wait_for_some();
        seen.extend(events.iter().map(|event| event.token.slot()));
        waits += 1;
        assert!(waits <= 10, "{} seen after {waits} waits", seen.len());
    }
    for _ in 0..5 {
        fixture.wait_for_some();
    }
    assert_eq!(fixture.wait_for_some().len(), MANY as usize);
}

/// Sends until nothing more fits; answers how many bytes did.
fn fill(fd: std::os::fd::BorrowedFd<'_>) -> usize {
    // SAFETY: the call changes the file's flags and touches no memory.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(result, 0);
    let mut sent = 0;
    let data = vec![0; 64 * 1024];
    let mut refused = 0;
    loop {
        match socket::send(fd, &data) {
            Ok(length) => (sent, refused) = (sent + length, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                // What was sent travels on to the peer's buffer and makes room once more.
                refused += 1;
                if refused == 20 {
                    return sent;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Raises the soft limit of open descriptors where it is too low for the case.
pub(super) fn allow_descriptors(count: u32) {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // The type is signed on FreeBSD, so that no conversion fits all.
    let count = count as libc::rlim_t;
    // SAFETY: both calls read or write the one structure they are given.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        if limit.rlim_cur < count {
            limit.rlim_cur = count.min(limit.rlim_max);
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        }
    }
}

/// A pair whose first end is readable.
pub(crate) fn readable_pair() -> (UnixStream, UnixStream) {
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    (near, far)
}
