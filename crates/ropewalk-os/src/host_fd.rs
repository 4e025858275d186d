//! The descriptor by which another loop watches a whole poller.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::{Interest, Poller, Token, descriptors};

/// A descriptor that is readable while a poller has events, and stays the same when the poller is
/// replaced by a new one.
///
/// It belongs to a poller of its own around the watched one: a loop that watched the inner poller's
/// descriptor would go on watching the old one after a replacement, and wait for ever. Nobody waits
/// *in* the outer poller; the system looks through it.
///
/// # References
///
/// [epoll(7)](https://man7.org/linux/man-pages/man7/epoll.7.html), questions 3 and 4: an epoll
/// descriptor is itself pollable.
pub struct HostFd {
    fd: OwnedFd,
    /// Nothing between [`release`](Self::release) and [`renew`](Self::renew).
    outer: RefCell<Option<Box<dyn Poller>>>,
    /// What the outer poller watches now.
    inner: Cell<Option<RawFd>>,
}

/// The one thing the outer poller watches.
const INNER: Token = Token::new(0, 0);

impl HostFd {
    /// Watches `inner` through `outer`, a new poller of the same kind.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](io::ErrorKind::Unsupported) for pollers without a descriptor; else what the
    /// system call failed with.
    pub fn new(outer: Box<dyn Poller>, inner: &dyn Poller) -> io::Result<Self> {
        let host = Self {
            fd: descriptor(&*outer)?.try_clone_to_owned()?,
            outer: RefCell::new(Some(outer)),
            inner: Cell::new(None),
        };
        host.watch(inner)?;
        Ok(host)
    }

    /// Watches `inner` in place of the poller before, which may be closed afterwards.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new). The poller before is then still watched.
    pub fn watch(&self, inner: &dyn Poller) -> io::Result<()> {
        let fd = descriptor(inner)?.as_raw_fd();
        let mut outer = self.outer.borrow_mut();
        let Some(poller) = outer.as_mut() else {
            return Ok(());
        };
        // SAFETY: the owner of both calls `watch` or `release` before it closes the inner poller.
        unsafe { poller.register(fd, INNER, Interest::READABLE)? };
        // A poller that gathers changes for its next wait would keep this one for ever.
        poller.flush_changes()?;
        let before = self.inner.replace(Some(fd));
        drop(outer);
        self.unwatch(before);
        Ok(())
    }

    /// Lets go of both pollers, the inner one of which is about to be closed: before a fork. The
    /// descriptor's number is kept, for nothing else to be given it: a kernel queue is not there in
    /// the child, and its number would be free.
    ///
    /// # Errors
    ///
    /// `EMFILE`: there is no descriptor free to keep the number with. Nothing has changed then.
    pub fn release(&self) -> io::Result<()> {
        let nothing = OwnedFd::from(std::fs::File::open("/dev/null")?);
        descriptors::replace(&self.fd, nothing.as_fd())?;
        self.inner.set(None);
        drop(self.outer.take());
        Ok(())
    }

    /// Goes on with `outer` under the same descriptor number: after a fork, when the outer poller
    /// is shared with the parent or gone. Whoever watches the number has to add it anew.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn renew(&self, outer: Box<dyn Poller>, inner: &dyn Poller) -> io::Result<()> {
        descriptors::replace(&self.fd, descriptor(&*outer)?)?;
        self.inner.set(None);
        *self.outer.borrow_mut() = Some(outer);
        self.watch(inner)
    }

    fn unwatch(&self, fd: Option<RawFd>) {
        if let Some(fd) = fd {
            if let Some(outer) = self.outer.borrow_mut().as_mut() {
                // NotFound says that it is not watched, which is what is wanted.
                drop(outer.deregister(fd).and_then(|()| outer.flush_changes()));
            }
        }
    }
}

impl AsFd for HostFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl fmt::Debug for HostFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFd")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

fn descriptor(poller: &dyn Poller) -> io::Result<BorrowedFd<'_>> {
    poller.as_fd().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "the {} poller has no descriptor that another loop can watch; \
                 choose epoll or kqueue to run inside another loop",
                poller.kind()
            ),
        )
    })
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::{Events, PollerKind};

    fn epoll() -> Box<dyn Poller> {
        PollerKind::Epoll.new_poller().unwrap()
    }

    fn is_readable(host: &HostFd) -> bool {
        let mut entry = libc::pollfd {
            fd: host.as_fd().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, which lives through the call.
        unsafe { libc::poll(&mut entry, 1, 0) == 1 }
    }

    fn watched() -> (Box<dyn Poller>, UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut poller = epoll();
        // SAFETY: the socket outlives the poller in every test.
        unsafe {
            poller
                .register(ours.as_raw_fd(), Token::new(1, 0), Interest::READABLE)
                .unwrap();
        }
        (poller, ours, theirs)
    }

    #[test]
    fn it_is_readable_while_the_poller_has_events() {
        let (mut poller, _ours, mut theirs) = watched();
        let host = HostFd::new(epoll(), &*poller).unwrap();
        assert!(!is_readable(&host));
        theirs.write_all(b"x").unwrap();
        assert!(is_readable(&host));
        poller
            .wait(&mut Events::new(), Some(Duration::ZERO))
            .unwrap();
        assert!(is_readable(&host), "level-triggered, as the poller is");
    }

    #[test]
    fn it_outlives_the_poller() {
        let (old, _old_ours, mut old_theirs) = watched();
        let (new, _new_ours, mut new_theirs) = watched();
        let host = HostFd::new(epoll(), &*old).unwrap();
        let number = host.as_fd().as_raw_fd();
        host.watch(&*new).unwrap();
        old_theirs.write_all(b"x").unwrap();
        assert!(!is_readable(&host), "the old poller is not watched");
        drop(old);
        new_theirs.write_all(b"x").unwrap();
        assert!(is_readable(&host));
        assert_eq!(host.as_fd().as_raw_fd(), number);
    }

    #[test]
    fn it_is_renewed_under_its_number() {
        let (poller, _ours, mut theirs) = watched();
        let host = HostFd::new(epoll(), &*poller).unwrap();
        let number = host.as_fd().as_raw_fd();
        host.release().unwrap();
        theirs.write_all(b"x").unwrap();
        // Nobody else is given the number meanwhile.
        assert_ne!(epoll().as_fd().unwrap().as_raw_fd(), number);
        host.renew(epoll(), &*poller).unwrap();
        assert!(is_readable(&host));
        assert_eq!(host.as_fd().as_raw_fd(), number);
    }

    #[test]
    fn a_poller_without_a_descriptor_is_refused_by_name() {
        let poll = PollerKind::Poll.new_poller().unwrap();
        let error = HostFd::new(epoll(), &*poll).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("the poll poller"), "{error}");
    }
}
