//! Sockets that a service manager opened for this process: systemd's socket activation.

use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::process;

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

/// A descriptor that was passed.
#[derive(Debug)]
pub struct PassedDescriptor {
    /// The name that the manager gave it (`FileDescriptorName=`), `unknown` if it gave none. Several
    /// may have the same one.
    pub name: String,
    /// A duplicate: the passed one stays open under its number.
    pub fd: OwnedFd,
}

/// Duplicates of the descriptors that were passed to this process, in order; none when there are no
/// `LISTEN_FDS`, or when `LISTEN_PID` is not this process: they are inherited by children, whom they
/// do not mean. The environment stays as it is, and each call answers new duplicates. The passed
/// descriptors themselves become close-on-exec.
///
/// What they are is asked with [`family_and_type`](crate::socket::adopt::family_and_type); they may
/// block, see [`prepare`](crate::socket::adopt::prepare).
///
/// # Errors
///
/// [`InvalidData`](ErrorKind::InvalidData) when `LISTEN_FDS` is no number or `LISTEN_FDNAMES` has
/// another number of names; `EBADF` when a number that should be open is not; `EMFILE`.
///
/// # References
///
/// [sd_listen_fds_with_names(3)](https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html).
pub fn listen_descriptors() -> io::Result<Vec<PassedDescriptor>> {
    let variables = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"].map(env::var_os);
    let [pid, count, names] = variables.each_ref().map(Option::as_deref);
    passed(process::id(), pid, count, names)?
        .into_iter()
        .map(|(number, name)| {
            // SAFETY: the number is positive, and is used for two calls, which answer `EBADF` if
            // nothing is open under it.
            let fd = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl_setfd(fd, FdFlags::CLOEXEC)?;
            let fd = fcntl_dupfd_cloexec(fd, FIRST)?;
            Ok(PassedDescriptor { name, fd })
        })
        .collect()
}

/// The numbers and names that the variables say were passed to process `own`.
fn passed(
    own: u32,
    pid: Option<&OsStr>,
    count: Option<&OsStr>,
    names: Option<&OsStr>,
) -> io::Result<Vec<(RawFd, String)>> {
    let (Some(pid), Some(count)) = (pid, count) else {
        return Ok(Vec::new());
    };
    if pid.to_str().and_then(|pid| pid.parse().ok()) != Some(own) {
        return Ok(Vec::new());
    }
    let count: RawFd = count
        .to_str()
        .and_then(|count| count.parse().ok())
        .filter(|count| (0..=RawFd::MAX - FIRST).contains(count))
        .ok_or_else(|| invalid("LISTEN_FDS is not a number of descriptors"))?;
    let numbers = FIRST..FIRST + count;
    let Some(names) = names else {
        return Ok(numbers.map(|number| (number, "unknown".into())).collect());
    };
    let names = names.to_string_lossy();
    let names: Vec<&str> = match &*names {
        "" if count == 0 => Vec::new(),
        names => names.split(':').collect(),
    };
    if names.len() != numbers.len() {
        return Err(invalid(
            "LISTEN_FDNAMES does not name as many as LISTEN_FDS says",
        ));
    }
    Ok(numbers.zip(names.into_iter().map(str::to_owned)).collect())
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

/// The number of the first descriptor that is passed (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn told(variables: [&str; 3]) -> io::Result<Vec<(RawFd, String)>> {
        let [pid, count, names] =
            variables.map(|text| (text != "-").then_some(text).map(OsStr::new));
        passed(7, pid, count, names)
    }

    fn pairs(expected: &[(RawFd, &str)]) -> Vec<(RawFd, String)> {
        let own = |&(number, name): &(RawFd, &str)| (number, name.to_owned());
        expected.iter().map(own).collect()
    }

    #[test]
    fn descriptors_are_numbered_from_three_in_the_order_of_their_names() {
        let expected = pairs(&[(3, "http"), (4, ""), (5, "http")]);
        assert_eq!(told(["7", "3", "http::http"]).unwrap(), expected);
        let expected = pairs(&[(3, "unknown"), (4, "unknown")]);
        assert_eq!(told(["7", "2", "-"]).unwrap(), expected);
        assert_eq!(told(["7", "1", ""]).unwrap(), pairs(&[(3, "")]));
    }

    #[test]
    fn nothing_is_passed_without_the_variables_or_to_another_process() {
        for variables in [
            ["-", "-", "-"],
            ["-", "2", "a:b"],
            ["8", "2", "a:b"],
            ["", "2", "a:b"],
            ["7", "-", "-"],
            ["7", "0", "-"],
            ["7", "0", ""],
        ] {
            assert!(told(variables).unwrap().is_empty(), "{variables:?}");
        }
    }

    #[test]
    fn variables_that_contradict_each_other_are_an_error() {
        for variables in [
            ["7", "", "-"],
            ["7", "two", "-"],
            ["7", "-1", "-"],
            ["7", "2147483646", "-"],
            ["7", "2", "a"],
            ["7", "1", "a:b"],
        ] {
            let error = told(variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{variables:?}");
        }
    }
}
