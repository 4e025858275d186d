//! The reserved descriptor with a full table, in a process of its own: the limit is the process's.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;

use ropewalk_os::socket::{self, AcceptError, FdReserve, ListenOptions};
use rustix::process::{Resource, getrlimit, setrlimit};

/// The only test of this file, for it takes all descriptors.
#[test]
fn the_reserve_accepts_one_connection_of_a_full_table() {
    let loopback = (Ipv4Addr::LOCALHOST, 0).into();
    let listener = socket::listen(loopback, &ListenOptions::default()).unwrap();
    let address = socket::local_addr(listener.as_fd()).unwrap();
    let mut reserve = FdReserve::new().unwrap();
    let _client = TcpStream::connect(address).unwrap();

    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(limit.current.map_or(64, |current| current.min(64)));
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }

    let error = socket::accept(listener.as_fd()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    assert_eq!(socket::accept_error(&error), AcceptError::NoDescriptor);
    reserve.release();
    let (connection, _) = socket::accept(listener.as_fd()).unwrap();
    assert!(!reserve.reserve(), "the connection has its place");
    assert!(!reserve.available());
    drop(connection);
    assert!(reserve.reserve(), "the place is free again");
    assert!(File::open("/dev/null").is_err(), "and taken");
}
