//! What a descriptor is ready for, as kqueue tells it.

use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::fs::{FileType, Stat};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::super::Filter;

/// Which file a number names: device and inode. Files of the anonymous inode (`eventfd`, `epoll`)
/// share one, so that one of them in the place of another is not noticed.
pub(super) type Identity = (u64, u64);

/// What decides how readiness is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file, or a directory.
    File,
    Tcp,
    /// A stream socket that is not TCP.
    Stream,
    /// Any other socket.
    Datagram,
    Pipe,
    Other,
}

/// One filter's event, without its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Active {
    pub(super) data: i64,
    pub(super) eof: bool,
    /// The socket's error, with `eof`.
    pub(super) errno: u32,
}

/// The number as a descriptor, for one call.
fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the callers have a number that is not negative, and use the result for a system call
    // at once, which answers EBADF if it is closed.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// What `fd` names; `EBADF` if nothing.
pub(super) fn stat(fd: RawFd) -> Result<Stat, i32> {
    if fd < 0 {
        return Err(libc::EBADF);
    }
    rustix::fs::fstat(borrow(fd)).map_err(rustix::io::Errno::raw_os_error)
}

pub(super) fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

pub(super) fn kind(fd: RawFd, stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::Directory => Kind::File,
        FileType::Fifo => Kind::Pipe,
        FileType::Socket => socket_kind(borrow(fd)),
        _ => Kind::Other,
    }
}

fn socket_kind(fd: BorrowedFd<'_>) -> Kind {
    if sockopt::socket_type(fd) != Ok(SocketType::STREAM) {
        return Kind::Datagram;
    }
    match sockopt::socket_domain(fd) {
        Ok(AddressFamily::INET | AddressFamily::INET6) => Kind::Tcp,
        _ => Kind::Stream,
    }
}

/// The bits of epoll that `filter` is about.
pub(super) const fn interest(filter: Filter) -> u32 {
    match filter {
        Filter::Read => (libc::EPOLLIN | libc::EPOLLRDHUP) as u32,
        _ => libc::EPOLLOUT as u32,
    }
}

/// What `filter` reports of a descriptor of which epoll reports `bits`; nothing if it does not.
pub(super) fn evaluate(fd: RawFd, kind: Kind, filter: Filter, bits: u32) -> Option<Active> {
    let has = |bit: i32| bits & bit as u32 != 0;
    let is_socket = matches!(kind, Kind::Tcp | Kind::Stream | Kind::Datagram);
    // A stream that was never connected: no end was reached, for nothing began.
    if is_socket && has(libc::EPOLLHUP) && !has(libc::EPOLLRDHUP) && !is_shut_for_reading(fd) {
        return None;
    }
    let broken = has(libc::EPOLLERR);
    let errno = if broken && is_socket {
        likely_errno(fd, kind)
    } else {
        0
    };
    let active = match filter {
        Filter::Read => {
            let ended = has(libc::EPOLLRDHUP) || !is_socket && has(libc::EPOLLHUP);
            if !has(libc::EPOLLIN) && !ended && !broken {
                return None;
            }
            Active {
                data: readable(fd, kind),
                eof: ended,
                errno,
            }
        }
        _ => {
            let ended =
                has(libc::EPOLLHUP) || !is_socket && broken || is_shut_for_writing(fd, kind);
            if !has(libc::EPOLLOUT) && !ended && !broken {
                return None;
            }
            Active {
                data: writable(fd, kind),
                eof: ended,
                errno,
            }
        }
    };
    // An error by itself (of a datagram) makes a descriptor ready and is no end.
    let errno = if active.eof { active.errno } else { 0 };
    Some(Active { errno, ..active })
}

/// What a regular file reports: never at its end, unlike with poll.
pub(super) fn evaluate_file(fd: RawFd, filter: Filter) -> Option<Active> {
    if filter != Filter::Read {
        return Some(Active::default());
    }
    let size = stat(fd).ok()?.st_size;
    let offset = rustix::fs::tell(borrow(fd)).ok()?;
    let data = size.saturating_sub_unsigned(offset);
    (data != 0).then_some(Active {
        data,
        ..Active::default()
    })
}

/// Bytes to read, or how many wait to be accepted.
fn readable(fd: RawFd, kind: Kind) -> i64 {
    if let Ok(bytes) = rustix::io::ioctl_fionread(borrow(fd)) {
        return i64::try_from(bytes).unwrap_or(i64::MAX);
    }
    match tcp_info(fd) {
        // Of a listener: the length of its queue. See tcp(7) and tcp_get_info in the kernel.
        Some(info) if kind == Kind::Tcp => i64::from(info.tcpi_unacked).max(1),
        // At least one, or it would not be readable; Linux does not tell more of others.
        _ => 1,
    }
}

/// Room to write, in bytes, as far as Linux tells.
fn writable(fd: RawFd, kind: Kind) -> i64 {
    let (room, used) = match kind {
        Kind::Pipe => {
            // SAFETY: the call takes a number and touches no memory.
            let room = unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) };
            let used = rustix::io::ioctl_fionread(borrow(fd)).unwrap_or(0);
            (i64::from(room), i64::try_from(used).unwrap_or(0))
        }
        Kind::Tcp | Kind::Stream | Kind::Datagram => {
            let room = sockopt::socket_send_buffer_size(borrow(fd)).unwrap_or(0);
            let mut used = 0;
            // SAFETY: the call writes one int.
            unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut used) };
            (i64::try_from(room).unwrap_or(0), i64::from(used))
        }
        Kind::File | Kind::Other => (0, 0),
    };
    (room - used).max(0)
}

/// Whether nothing more will come, which epoll tells only those who ask.
fn is_shut_for_reading(fd: RawFd) -> bool {
    let mut entry = libc::pollfd {
        fd,
        events: libc::POLLRDHUP,
        revents: 0,
    };
    // SAFETY: the call reads and writes the one entry.
    unsafe { libc::poll(&raw mut entry, 1, 0) == 1 && entry.revents & libc::POLLRDHUP != 0 }
}

/// Whether this side was shut down for writing, which epoll reports as room to write.
fn is_shut_for_writing(fd: RawFd, kind: Kind) -> bool {
    match kind {
        Kind::Tcp => tcp_info(fd).is_some_and(|info| SHUT_STATES.contains(&info.tcpi_state)),
        // Of no byte, it sends nothing and fails if nothing could be sent.
        Kind::Stream => {
            let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
            // SAFETY: no byte is read.
            let sent = unsafe { libc::send(fd, std::ptr::null(), 0, flags) };
            sent < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPIPE)
        }
        _ => false,
    }
}

/// FIN_WAIT1, FIN_WAIT2, TIME_WAIT, CLOSE, LAST_ACK, CLOSING, as `tcp_info` numbers them.
const SHUT_STATES: [u8; 6] = [4, 5, 6, 7, 9, 11];

/// The error that waits in a socket.
///
/// Linux shows it only by handing it over (`SO_ERROR`), and whoever owns the socket needs it. That
/// there is one is certain; which one is told from whether the connection ever was: a refused one
/// had nothing acknowledged. Other errors (timeouts, unreachable hosts) go by these two names too.
fn likely_errno(fd: RawFd, kind: Kind) -> u32 {
    let refused = match kind {
        Kind::Tcp => tcp_info(fd).is_some_and(|info| info.tcpi_bytes_acked == 0),
        Kind::Datagram => true,
        _ => false,
    };
    let errno = if refused {
        libc::ECONNREFUSED
    } else {
        libc::ECONNRESET
    };
    errno.unsigned_abs()
}

/// The first fields of Linux's `struct tcp_info`, of which the C library may know fewer.
#[repr(C)]
#[derive(Clone, Copy)]
struct TcpInfo {
    tcpi_state: u8,
    small: [u8; 7],
    before_unacked: [u32; 4],
    tcpi_unacked: u32,
    between: [u32; 19],
    rates: [u64; 2],
    tcpi_bytes_acked: u64,
}

fn tcp_info(fd: RawFd) -> Option<TcpInfo> {
    let mut info = mem::MaybeUninit::<TcpInfo>::zeroed();
    let mut length = mem::size_of::<TcpInfo>() as libc::socklen_t;
    // SAFETY: the call writes at most `length` bytes, the size of what it is given.
    let result = unsafe {
        libc::getsockopt(
            borrow(fd).as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    // SAFETY: it is made of integers, for which all zeros are values, as is what was written.
    (result == 0).then(|| unsafe { info.assume_init() })
}
