//! Descriptors sent through UNIX sockets: all that arrive have an owner, all that do not are told.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ropewalk_os::socket;
use ropewalk_os::socket::datagram::ReceiveBatch;
use ropewalk_os::socket::unix::{
    MAX_DESCRIPTORS, Received, receive_with_descriptors, send_with_descriptors,
};
use ropewalk_testkit::DescriptorCount;
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors are the process's: one test at a time, and none may leave any.
struct Alone {
    _count: DescriptorCount,
    _turn: MutexGuard<'static, ()>,
}

fn alone() -> Alone {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    Alone {
        _count: DescriptorCount::new(),
        _turn: turn,
    }
}

fn pair() -> (UnixStream, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    (near, far)
}

fn receive(fd: impl AsFd, descriptors: &mut Vec<OwnedFd>) -> io::Result<Received> {
    receive_with_descriptors(fd.as_fd(), &mut [0; 100], descriptors)
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

const fn whole(length: usize) -> Received {
    Received {
        length,
        descriptors_lost: false,
    }
}

#[test]
fn a_descriptor_arrives_open_and_close_on_exec() {
    let _alone = alone();
    let (near, far) = pair();
    let (read, write) = rustix::pipe::pipe().unwrap();
    let sent = send_with_descriptors(near.as_fd(), b"data", &[write.as_fd()]).unwrap();
    assert_eq!(sent, 4);
    drop(write);
    let (mut buffer, mut descriptors) = ([0; 100], Vec::new());
    let received = receive_with_descriptors(far.as_fd(), &mut buffer, &mut descriptors).unwrap();
    assert_eq!((received, &buffer[..4]), (whole(4), &b"data"[..]));
    let [write] = <[OwnedFd; 1]>::try_from(descriptors).unwrap();
    assert!(fcntl_getfd(&write).unwrap().contains(FdFlags::CLOEXEC));
    File::from(write).write_all(b"through").unwrap();
    let mut through = String::new();
    File::from(read).read_to_string(&mut through).unwrap();
    assert_eq!(through, "through");
}

#[test]
fn data_without_descriptors_arrives_so() {
    let _alone = alone();
    let (near, far) = pair();
    let mut descriptors = Vec::new();
    let error = receive(&far, &mut descriptors).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(
        send_with_descriptors(near.as_fd(), b"data", &[]).unwrap(),
        4
    );
    assert_eq!(receive(&far, &mut descriptors).unwrap(), whole(4));
    drop(near);
    assert_eq!(receive(&far, &mut descriptors).unwrap(), whole(0));
    assert!(descriptors.is_empty());
}

#[test]
fn as_many_as_the_system_allows_arrive_in_order() {
    let _alone = alone();
    let (near, far) = pair();
    let files: Vec<_> = (0..2).map(|_| rustix::pipe::pipe().unwrap()).collect();
    let ends = [&files[0].0, &files[0].1, &files[1].0, &files[1].1];
    let many: Vec<BorrowedFd<'_>> = ends.iter().map(AsFd::as_fd).cycle().take(254).collect();
    let most = &many[..MAX_DESCRIPTORS];
    assert_eq!(send_with_descriptors(near.as_fd(), b"x", most).unwrap(), 1);
    let mut descriptors = Vec::new();
    assert_eq!(receive(&far, &mut descriptors).unwrap(), whole(1));
    assert_eq!(descriptors.len(), MAX_DESCRIPTORS);
    let identity = |fd: BorrowedFd<'_>| {
        let status = rustix::fs::fstat(fd).unwrap();
        let flags = rustix::fs::fcntl_getfl(fd).unwrap();
        (status.st_ino, flags)
    };
    let same = |(sent, received): (&BorrowedFd<'_>, &OwnedFd)| {
        identity(*sent) == identity(received.as_fd())
    };
    assert!(most.iter().zip(&descriptors).all(same));
    assert_eq!(
        errno(send_with_descriptors(near.as_fd(), b"x", &many)),
        libc::EINVAL
    );
}

#[test]
fn descriptors_do_not_travel_without_data() {
    let _alone = alone();
    let (near, far) = pair();
    let result = send_with_descriptors(near.as_fd(), b"", &[near.as_fd()]);
    assert_eq!(errno(result), libc::EINVAL);
    assert_eq!(errno(receive(&far, &mut Vec::new())), libc::EAGAIN);
}

#[test]
fn descriptors_of_several_sends_come_in_order_however_they_are_read() {
    let _alone = alone();
    let (near, far) = pair();
    let files: Vec<_> = (0..3).map(|_| rustix::pipe::pipe().unwrap()).collect();
    for (read, _) in &files {
        send_with_descriptors(near.as_fd(), b"x", &[read.as_fd()]).unwrap();
    }
    socket::send(near.as_fd(), b"tail").unwrap();
    let (mut descriptors, mut length) = (Vec::new(), 0);
    while length < 7 {
        let received = receive(&far, &mut descriptors).unwrap();
        assert!(!received.descriptors_lost);
        length += received.length;
    }
    assert_eq!(length, 7);
    let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
    let sent: Vec<_> = files.iter().map(|(read, _)| inode(read)).collect();
    assert_eq!(descriptors.iter().map(inode).collect::<Vec<_>>(), sent);
}

#[test]
fn a_full_socket_takes_neither_data_nor_descriptors() {
    let _alone = alone();
    let (near, far) = pair();
    let error = loop {
        if let Err(error) = socket::send(near.as_fd(), &[0; 65_536]) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let result = send_with_descriptors(near.as_fd(), b"x", &[near.as_fd()]);
    assert_eq!(errno(result), libc::EAGAIN);
    drop(near);
    let mut descriptors = Vec::new();
    while receive(&far, &mut descriptors).unwrap().length > 0 {}
    assert!(descriptors.is_empty());
}

#[test]
fn descriptors_that_nobody_reads_are_closed_with_the_socket() {
    let _alone = alone();
    let (read, write) = rustix::pipe::pipe().unwrap();
    let (near, far) = pair();
    send_with_descriptors(near.as_fd(), b"x", &[write.as_fd()]).unwrap();
    drop((write, near, far));
    assert_eq!(File::from(read).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_plain_receive_takes_no_descriptor() {
    let _alone = alone();
    let (read, write) = rustix::pipe::pipe().unwrap();
    let (near, far) = pair();
    send_with_descriptors(near.as_fd(), b"x", &[write.as_fd()]).unwrap();
    assert_eq!(socket::recv(far.as_fd(), &mut [0; 9]).unwrap(), 1);
    let (from, to) = UnixDatagram::pair().unwrap();
    send_with_descriptors(from.as_fd(), b"datagram", &[write.as_fd()]).unwrap();
    let mut batch = ReceiveBatch::new(2, 100);
    assert_eq!(batch.receive(to.as_fd(), 2).unwrap(), 1);
    assert_eq!(batch.data(0), b"datagram");
    drop(write);
    assert_eq!(File::from(read).read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_full_table_loses_descriptors_but_not_the_data_and_tells() {
    let _alone = alone();
    let (near, far) = pair();
    send_with_descriptors(near.as_fd(), b"data", &[near.as_fd(); 3]).unwrap();
    let before = getrlimit(Resource::Nofile);
    let next = near.try_clone().unwrap().as_raw_fd() as u64;
    let mut descriptors = Vec::new();
    let limit = Rlimit {
        current: Some(next + 1),
        maximum: before.maximum,
    };
    setrlimit(Resource::Nofile, limit).unwrap();
    let received = receive(&far, &mut descriptors);
    setrlimit(Resource::Nofile, before).unwrap();
    let expected = Received {
        length: 4,
        descriptors_lost: true,
    };
    assert_eq!(received.unwrap(), expected);
    assert!(descriptors.len() < 3);
    send_with_descriptors(near.as_fd(), b"more", &[near.as_fd()]).unwrap();
    descriptors.clear();
    assert_eq!(receive(&far, &mut descriptors).unwrap(), whole(4));
    assert_eq!(descriptors.len(), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn other_control_data_is_passed_over() {
    let _alone = alone();
    let (near, far) = pair();
    rustix::net::sockopt::set_socket_passcred(&far, true).unwrap();
    let many = [near.as_fd(); MAX_DESCRIPTORS];
    send_with_descriptors(near.as_fd(), b"data", &many).unwrap();
    let mut descriptors = Vec::new();
    assert_eq!(receive(&far, &mut descriptors).unwrap(), whole(4));
    assert_eq!(descriptors.len(), MAX_DESCRIPTORS);
}
