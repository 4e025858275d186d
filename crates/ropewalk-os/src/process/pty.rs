//! Pseudoterminals.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
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
        Ok(ptsname(&self.master, Vec::new())?)
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

/// By its name, which may mean another terminal in another mount namespace: so only where there is
/// no other way.
fn open_by_name(master: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let name = ptsname(master, Vec::new())?;
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
