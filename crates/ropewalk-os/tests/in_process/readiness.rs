//! What is told of pipes, files and devices, and how often.

use std::fs::File;
use std::io::{Read as _, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd};

use ropewalk_testkit::socket_pair;

use super::calls::tempfile;
use super::*;
use Filter::Read;

fn pipe() -> (File, File) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (read.into(), write.into())
}

/// Both ends of a pseudo-terminal.
fn terminal() -> (File, File) {
    let mut ends = [-1; 2];
    let [master, slave] = &mut ends;
    let (name, settings, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
    // SAFETY: the call writes two numbers, and has no name, settings or size to look at.
    let result = unsafe { libc::openpty(master, slave, name, settings, size) };
    assert_eq!(result, 0);
    // SAFETY: both descriptors are new and nobody else's.
    let [master, slave] = ends.map(|end| unsafe { File::from_raw_fd(end) });
    (master, slave)
}

#[test]
fn data_counts_what_can_be_read_and_written() {
    let mut queue = Queue::new();
    let (read, mut write) = pipe();
    queue.add(&read, Read);
    queue.add(&write, Filter::Write);
    write.write_all(b"rope").unwrap();
    let events = queue.ready();
    let of = |filter| events.iter().find(|event| event.filter == filter).unwrap();
    assert_eq!(of(Read).data, 4);
    assert_eq!(of(Filter::Write).data, 65536 - 4);
    assert!(
        events
            .iter()
            .all(|event| event.udata == 7 && event.flags == EventFlags::NONE)
    );
}

#[test]
fn a_pipe_ends_with_its_writer_and_keeps_its_data() {
    let mut queue = Queue::new();
    let (read, mut write) = pipe();
    queue.add(&read, Read);
    write.write_all(b"rope").unwrap();
    drop(write);
    for data in [4, 0] {
        let event = queue.ready()[0];
        assert!(is_eof(&event));
        assert_eq!((event.data, event.fflags), (data, 0));
        let length = data as usize;
        (&read).read_exact(&mut vec![0; length]).unwrap();
    }
}

#[test]
fn a_pipe_that_nobody_reads_ends_for_its_writer() {
    let mut queue = Queue::new();
    let (read, write) = pipe();
    queue.add(&write, Filter::Write);
    assert!(!is_eof(&queue.ready()[0]));
    drop(read);
    let event = queue.ready()[0];
    assert!(is_eof(&event));
    assert_eq!(event.fflags, 0);
}

#[test]
fn a_file_tells_how_far_its_end_is_and_is_silent_there() {
    let mut queue = Queue::new();
    let mut file = tempfile();
    file.write_all(b"ropewalk").unwrap();
    file.seek(SeekFrom::Start(3)).unwrap();
    queue.add(&file, Read);
    assert!(queue.is_readable());
    assert_eq!(queue.ready()[0].data, 5);
    file.seek(SeekFrom::End(0)).unwrap();
    assert_eq!(queue.ready(), []);
    assert!(!queue.is_readable());
    file.write_all(b"s").unwrap();
    file.seek(SeekFrom::End(-1)).unwrap();
    assert_eq!(queue.ready()[0].data, 1);
    queue.add(&file, Filter::Write);
    file.seek(SeekFrom::End(0)).unwrap();
    assert_eq!(names(&queue.ready()), [(file.as_raw_fd(), Filter::Write)]);
    let fd = file.as_raw_fd();
    drop(file);
    assert_eq!(queue.ready(), []);
    assert_eq!(queue.change(change(fd, Read, DELETE)), Err(libc::EBADF));
}

#[test]
fn a_device_that_cannot_wait_is_refused() {
    let mut queue = Queue::new();
    let device = File::open("/dev/null").unwrap();
    let result = queue.change(change(device.as_raw_fd(), Read, ADD));
    assert_eq!(result, Err(libc::ENODEV));
    let result = queue.change(change(device.as_raw_fd(), Read, DELETE));
    assert_eq!(result, Err(libc::ENOENT));
}

#[test]
fn a_terminal_is_watched() {
    let mut queue = Queue::new();
    let (master, mut slave) = terminal();
    queue.add(&master, Read);
    assert_eq!(queue.ready(), []);
    slave.write_all(b"rope").unwrap();
    assert_eq!(queue.wait()[0].data, 4);
    drop(slave);
    assert!(is_eof(&queue.wait()[0]));
}

#[test]
fn a_cleared_state_is_reported_once_until_there_is_news() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    let fd = near.as_raw_fd();
    queue
        .change(change(fd, Read, ADD | EventFlags::CLEAR))
        .unwrap();
    for data in [4, 8] {
        far.write_all(b"rope").unwrap();
        let event = queue.ready()[0];
        assert_eq!(event.data, data);
        assert!(event.flags.contains(EventFlags::CLEAR));
        assert_eq!(queue.ready(), []);
        assert!(!queue.is_readable());
    }
}

#[test]
fn news_to_read_are_none_to_write() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    let fd = near.as_raw_fd();
    for filter in [Read, Filter::Write] {
        queue
            .change(change(fd, filter, ADD | EventFlags::CLEAR))
            .unwrap();
    }
    assert_eq!(names(&queue.ready()), [(fd, Filter::Write)]);
    far.write_all(b"rope").unwrap();
    assert_eq!(names(&queue.ready()), [(fd, Read)]);
}

#[test]
fn a_cleared_filter_leaves_the_other_as_it_is() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    let fd = near.as_raw_fd();
    queue
        .change(change(fd, Read, ADD | EventFlags::CLEAR))
        .unwrap();
    queue.add(&near, Filter::Write);
    far.write_all(b"rope").unwrap();
    let mut both = names(&queue.ready());
    both.sort();
    assert_eq!(both, [(fd, Read), (fd, Filter::Write)]);
    assert_eq!(names(&queue.ready()), [(fd, Filter::Write)]);
}

#[test]
fn a_oneshot_is_gone_once_it_was_reported() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    let fd = near.as_raw_fd();
    queue.add(&near, Filter::Write);
    queue
        .change(change(fd, Read, ADD | EventFlags::ONESHOT))
        .unwrap();
    assert_eq!(names(&queue.ready()), [(fd, Filter::Write)]);
    far.write_all(b"rope").unwrap();
    assert_eq!(queue.ready().len(), 2);
    assert_eq!(names(&queue.ready()), [(fd, Filter::Write)]);
    assert_eq!(queue.change(change(fd, Read, DELETE)), Err(libc::ENOENT));
}

#[test]
fn a_dispatched_one_waits_to_be_enabled() {
    let mut queue = Queue::new();
    let (near, mut far) = socket_pair();
    far.write_all(b"rope").unwrap();
    let fd = near.as_raw_fd();
    queue
        .change(change(fd, Read, ADD | EventFlags::DISPATCH))
        .unwrap();
    for _ in 0..2 {
        assert_eq!(queue.ready().len(), 1);
        assert_eq!(queue.ready(), []);
        assert!(!queue.is_readable());
        queue.change(change(fd, Read, EventFlags::ENABLE)).unwrap();
    }
    queue.change(change(fd, Read, DELETE)).unwrap();
}
