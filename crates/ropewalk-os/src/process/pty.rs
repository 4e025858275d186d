//! Pseudoterminals.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

/// The size of a terminal's window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WindowSize {
    /// Lines of text.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
    /// Width in pixels; 0 where nobody knows.
    pub x_pixels: u16,
    /// Height in pixels; 0 where nobody knows.
    pub y_pixels: u16,
}

/// A new pseudoterminal.
///
/// The parent keeps the master and drops the slave once it has a child with it: while it holds it,
/// the end of the child's side never comes.
#[derive(Debug)]
pub struct Pty {
    /// Our side, non-blocking and close-on-exec.
    pub master: OwnedFd,
    /// The side of the programs in the terminal, close-on-exec.
    pub slave: OwnedFd,
}

impl Pty {
    /// Opens one. It becomes nobody's controlling terminal by that.
    ///
    /// # Errors
    ///
    /// What posix_openpt(3) and those after it failed with: `EMFILE`; `ENOSPC` if the system has
    /// no pseudoterminal left. Nothing is left open then.
    pub fn open() -> io::Result<Self> {
        let master = system::open_master()?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = system::open_slave(&master)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        Ok(Self { master, slave })
    }

    /// The path of the slave, as `/dev/pts/3`.
    ///
    /// # Errors
    ///
    /// What ptsname(3) failed with.
    pub fn name(&self) -> io::Result<CString> {
        Ok(reentrant::name(&self.master)?)
    }
}

/// Reads from a master. Zero is the end: nobody has the slave any more, which Linux tells by `EIO`.
/// What was written before is read first.
///
/// # Errors
///
/// What read(2) failed with, [`WouldBlock`](io::ErrorKind::WouldBlock) mostly.
pub fn read_master(master: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    match retry_on_intr(|| rustix::io::read(master.as_fd(), &mut *buffer)) {
        Err(Errno::IO) => Ok(0),
        result => Ok(result?),
    }
}

/// The size of a terminal's window, by its master or slave.
///
/// # Errors
///
/// `ENOTTY`: it is no terminal.
pub fn window_size(terminal: impl AsFd) -> io::Result<WindowSize> {
    let size = tcgetwinsize(terminal)?;
    Ok(WindowSize {
        rows: size.ws_row,
        columns: size.ws_col,
        x_pixels: size.ws_xpixel,
        y_pixels: size.ws_ypixel,
    })
}

/// Sets the size of a terminal's window, by its master or slave. The programs in its foreground
/// hear of a new one by `SIGWINCH`.
///
/// # Errors
///
/// `ENOTTY`: it is no terminal.
pub fn set_window_size(terminal: impl AsFd, size: WindowSize) -> io::Result<()> {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: size.x_pixels,
        ws_ypixel: size.y_pixels,
    };
    Ok(tcsetwinsize(terminal, size)?)
}

#[cfg(any(target_os = "netbsd", target_os = "openbsd", target_os = "dragonfly"))]
use locked as reentrant;

#[cfg(not(any(target_os = "netbsd", target_os = "openbsd", target_os = "dragonfly")))]
mod reentrant {
    use super::*;

    pub(super) fn name(master: &OwnedFd) -> rustix::io::Result<CString> {
        rustix::pty::ptsname(master, Vec::new())
    }
}

/// The systems whose ptsname(3) is one for all threads. Built for the tests everywhere, for they
/// can run it.
#[cfg(any(
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    test
))]
mod locked {
    use std::ffi::CStr;
    use std::os::fd::AsRawFd;
    use std::sync::{Mutex, PoisonError};

    use super::*;

    pub(super) fn name(master: &OwnedFd) -> rustix::io::Result<CString> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the call takes a number.
        let name = unsafe { libc::ptsname(master.as_raw_fd()) };
        if name.is_null() {
            return Err(Errno::NOTTY);
        }
        // SAFETY: a text with a zero byte at its end, that stays until the next call, which waits.
        Ok(unsafe { CStr::from_ptr(name) }.to_owned())
    }
}

/// By its name, which may mean another terminal in another mount namespace: so only where there is
/// no other way.
fn open_by_name(master: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let name = reentrant::name(master)?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(name, flags, Mode::empty())
}

#[cfg(target_os = "linux")]
mod system {
    use rustix::pty::ioctl_tiocgptpeer;

    use super::*;

    const FLAGS: OpenptFlags = OpenptFlags::RDWR
        .union(OpenptFlags::NOCTTY)
        .union(OpenptFlags::CLOEXEC);

    pub(super) fn open_master() -> rustix::io::Result<OwnedFd> {
        openpt(FLAGS)
    }

    pub(super) fn open_slave(master: &OwnedFd) -> rustix::io::Result<OwnedFd> {
        match ioctl_tiocgptpeer(master, FLAGS) {
            // Linux before 4.13.
            Err(Errno::NOTTY | Errno::INVAL) => open_by_name(master),
            result => result,
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use rustix::io::{FdFlags, fcntl_setfd};

    use super::*;

    pub(super) fn open_master() -> rustix::io::Result<OwnedFd> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        fcntl_setfd(&master, FdFlags::CLOEXEC)?;
        Ok(master)
    }

    pub(super) fn open_slave(master: &OwnedFd) -> rustix::io::Result<OwnedFd> {
        open_by_name(master)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use rustix::fs::fstat;

    use super::*;

    #[test]
    fn a_slave_has_one_name_and_can_be_opened_by_it_either_way() {
        let pty = Pty::open().unwrap();
        assert_eq!(locked::name(&pty.master).unwrap(), pty.name().unwrap());
        let slave = open_by_name(&pty.master).unwrap();
        let device = |fd| fstat(fd).unwrap().st_rdev;
        assert_eq!(device(&slave), device(&pty.slave));
        let file = std::fs::File::open("/dev/null").unwrap().into();
        assert!(locked::name(&file).is_err());
    }
}
