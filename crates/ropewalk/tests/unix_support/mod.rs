//! What the tests of UNIX sockets share: a directory for the sockets, and peers.
#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::RefCell;
use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ropewalk::{ListeningPort, Protocol, Reactor};

use crate::tcp_support::{LIMIT, until};

/// A directory of one test, removed with what is in it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ropewalk-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Fails if anything is left in it.
    pub(crate) fn assert_empty(&self) {
        let left: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed here is the system's to remove.
        let _: io::Result<()> = fs::remove_dir_all(&self.0);
    }
}

/// A name that no other test uses.
pub(crate) fn abstract_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("ropewalk test {} {count}", std::process::id())
}

/// Listens on `path` with one protocol for one connection, and connects a blocking client to it.
pub(crate) fn serve(
    reactor: &Reactor,
    path: &Path,
    protocol: impl Protocol,
) -> (ListeningPort, UnixStream) {
    let made = Rc::new(RefCell::new(Some(protocol)));
    let protocol = Rc::clone(&made);
    let port = reactor
        .listen_unix(path, move |_| {
            protocol.borrow_mut().take().expect("one connection")
        })
        .unwrap();
    let client = connect(path);
    until(reactor, "a connection", || made.borrow().is_none());
    (port, client)
}

pub(crate) fn connect(path: &Path) -> UnixStream {
    let client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.set_write_timeout(Some(LIMIT)).unwrap();
    client
}

/// Turns until the client has received `wanted` bytes.
pub(crate) fn receive_exactly(
    reactor: &Reactor,
    client: &mut UnixStream,
    wanted: usize,
) -> Vec<u8> {
    let mut all = Vec::new();
    read_while(reactor, client, |data| {
        all.extend_from_slice(data);
        !data.is_empty() && all.len() < wanted
    });
    assert_eq!(all.len(), wanted);
    all
}

/// What the client receives to the end of the stream.
pub(crate) fn receive_all(reactor: &Reactor, client: &mut UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    read_while(reactor, client, |data| {
        all.extend_from_slice(data);
        !data.is_empty()
    });
    all
}

fn read_while(reactor: &Reactor, client: &mut UnixStream, mut more: impl FnMut(&[u8]) -> bool) {
    client.set_nonblocking(true).unwrap();
    let deadline = Instant::now() + LIMIT;
    let mut buffer = vec![0; 65_536];
    loop {
        assert!(Instant::now() < deadline, "the client still waits");
        reactor.turn(Some(Duration::ZERO)).unwrap();
        match client.read(&mut buffer) {
            Ok(count) if more(&buffer[..count]) => {}
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
    client.set_nonblocking(false).unwrap();
}

/// Whether `program` can be run here; a test that needs it says so where it cannot.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("-V").output().is_ok();
    if !found {
        eprintln!("not tested: {program} is not installed");
    }
    found
}
