//! Descriptors that come with their flags: in one call where the system has it, else in steps.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

#[cfg(not(any(target_vendor = "apple", target_os = "android")))]
use at_once as system;
#[cfg(any(target_vendor = "apple", target_os = "android"))]
use in_steps as system;

/// A pipe, close-on-exec and non-blocking at both ends: read end, write end.
///
/// # Errors
///
/// What [pipe2(2)](https://man7.org/linux/man-pages/man2/pipe2.2.html) failed with, `EMFILE`
/// mostly.
pub(crate) fn pipe() -> io::Result<[OwnedFd; 2]> {
    system::pipe()
}

/// A pipe, close-on-exec at both ends: read end, write end.
///
/// # Errors
///
/// As [`pipe`].
pub(crate) fn blocking_pipe() -> io::Result<[OwnedFd; 2]> {
    system::blocking_pipe()
}

/// Has the number of `kept` name what `other` names, close-on-exec. Who owns `kept` answers for
/// those who go on using the number.
///
/// # Errors
///
/// What [dup3(2)](https://man7.org/linux/man-pages/man2/dup3.2.html) failed with; the number then
/// names what it named.
pub(crate) fn replace(kept: &OwnedFd, other: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        let result = system::replace(kept, other);
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Linux and the BSDs: flags are arguments, and no other thread ever sees a descriptor without
/// them.
#[cfg(not(any(target_vendor = "apple", target_os = "android")))]
mod at_once {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    pub(super) fn pipe() -> io::Result<[OwnedFd; 2]> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok([read, write])
    }

    pub(super) fn blocking_pipe() -> io::Result<[OwnedFd; 2]> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok([read, write])
    }

    pub(super) fn replace(kept: &OwnedFd, other: BorrowedFd<'_>) -> io::Result<()> {
        let (from, to) = (other.as_raw_fd(), kept.as_raw_fd());
        // SAFETY: both are open, and stay so: the number is replaced and never free. What it named
        // before had no other owner than `kept`, whose owner asks for this.
        check(unsafe { libc::dup3(from, to, libc::O_CLOEXEC) })
    }
}

/// macOS and its kin, which have no such calls, and Android, for which the libc crate declares no
/// dup3: flags follow. A program that another thread starts in between inherits the descriptor.
/// Built for the tests everywhere, for they can run it.
#[cfg(any(target_vendor = "apple", target_os = "android", test))]
#[cfg_attr(test, allow(dead_code, reason = "built for the tests"))]
mod in_steps {
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};

    use super::*;

    pub(super) fn pipe() -> io::Result<[OwnedFd; 2]> {
        let ends = blocking_pipe()?;
        for end in &ends {
            ioctl_fionbio(end, true)?;
        }
        Ok(ends)
    }

    pub(super) fn blocking_pipe() -> io::Result<[OwnedFd; 2]> {
        let (read, write) = rustix::pipe::pipe()?;
        for end in [&read, &write] {
            fcntl_setfd(end, FdFlags::CLOEXEC)?;
        }
        Ok([read, write])
    }

    pub(super) fn replace(kept: &OwnedFd, other: BorrowedFd<'_>) -> io::Result<()> {
        let (from, to) = (other.as_raw_fd(), kept.as_raw_fd());
        // SAFETY: as in `at_once`.
        check(unsafe { libc::dup2(from, to) })?;
        Ok(fcntl_setfd(kept, FdFlags::CLOEXEC)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{OFlags, fcntl_getfl, fstat};
    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;

    fn has_its_flags(fd: &OwnedFd) -> bool {
        fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC)
            && fcntl_getfl(fd).unwrap().contains(OFlags::NONBLOCK)
    }

    #[test]
    fn both_ends_of_a_pipe_have_their_flags_either_way() {
        for ends in [system::pipe(), in_steps::pipe()] {
            assert!(ends.unwrap().iter().all(has_its_flags));
        }
    }

    #[test]
    fn both_ends_of_a_blocking_pipe_block_and_are_not_inherited_either_way() {
        for ends in [system::blocking_pipe(), in_steps::blocking_pipe()] {
            for end in ends.unwrap() {
                assert!(fcntl_getfd(&end).unwrap().contains(FdFlags::CLOEXEC));
                assert!(!fcntl_getfl(&end).unwrap().contains(OFlags::NONBLOCK));
            }
        }
    }

    #[test]
    fn a_number_names_the_other_file_afterwards_either_way() {
        for replace in [system::replace, in_steps::replace] {
            let ([kept, _], [other, _other]) = (pipe().unwrap(), pipe().unwrap());
            let number = kept.as_raw_fd();
            replace(&kept, other.as_fd()).unwrap();
            assert_eq!(kept.as_raw_fd(), number);
            assert_eq!(fstat(&kept).unwrap().st_ino, fstat(&other).unwrap().st_ino);
            assert!(has_its_flags(&kept));
        }
    }
}
