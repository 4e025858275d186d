//! Descriptors that travel through UNIX sockets, beside data (`SCM_RIGHTS`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::fresh::NO_SIGNAL;
use super::{retry, send};

/// How many descriptors one call sends at most: what Linux allows (`SCM_MAX_FD`).
pub const MAX_DESCRIPTORS: usize = 253;

/// What [`receive_with_descriptors`] received beside the descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes: 0 at the end of a stream.
    pub length: usize,
    /// Whether more descriptors were sent than arrived: there was no number free for them
    /// (`EMFILE`), or no room. The system has closed the others.
    pub descriptors_lost: bool,
}

/// Sends what the system takes of `data`, and `descriptors` with its first byte. They are open at
/// the receiver then; the sender keeps its own, and may close them at once.
///
/// Answers how many bytes were sent. If any were, all the descriptors were too; on an error, none.
///
/// # Errors
///
/// `EINVAL` when there are more than [`MAX_DESCRIPTORS`], or descriptors and no data: on a stream
/// they would be lost without a word. `EBADF` when one is not open, `ETOOMANYREFS` when too many of
/// this user's travel unreceived. Others as [`send`](super::send).
///
/// # References
///
/// `SCM_RIGHTS` in [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
pub fn send_with_descriptors(
    fd: BorrowedFd<'_>,
    data: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.is_empty() {
        return send(fd, data);
    }
    if descriptors.len() > MAX_DESCRIPTORS || data.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut control = Control::uninit();
    let mut slice = libc::iovec {
        // sendmsg only reads it.
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    let mut message = message(&mut slice, &mut control);
    let length = size_of_val(descriptors) as libc::c_uint;
    // SAFETY: arithmetic.
    let (header_length, space) = unsafe { (libc::CMSG_LEN(length), libc::CMSG_SPACE(length)) };
    message.msg_controllen = space as _;
    // SAFETY: `control` has room for a header and the data of `MAX_DESCRIPTORS`, see below, so
    // that there is a first header and its data lies inside. `BorrowedFd` is a descriptor's number
    // by its documentation. Padding that is sent with them is zeroed first.
    unsafe {
        control
            .as_mut_ptr()
            .cast::<u8>()
            .write_bytes(0, space as usize);
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = header_length as _;
        let numbers = descriptors.as_ptr().cast::<u8>();
        libc::CMSG_DATA(header).copy_from_nonoverlapping(numbers, length as usize);
    }
    retry(|| {
        // SAFETY: the header, the slice, the data and the control data live through the call.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &message, NO_SIGNAL | libc::MSG_DONTWAIT) }
    })
}

/// Receives into `buffer`, and appends the descriptors that come with the data to `descriptors`:
/// close-on-exec, in the order in which they were sent, owned by the caller, who drops what is not
/// wanted. A stream does not read on behind data that has descriptors, so that those of one send
/// come with its data.
///
/// # Errors
///
/// As [`recv`](super::recv).
pub fn receive_with_descriptors(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<Received> {
    let mut control = Control::uninit();
    let mut slice = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut message = message(&mut slice, &mut control);
    let length = retry(|| {
        message.msg_controllen = size_of::<Control>() as _;
        // SAFETY: the call writes to `buffer` and `control`, at most by their lengths.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, FLAGS) }
    })?;
    let before = descriptors.len();
    // SAFETY: the message is as recvmsg left it, and `control` lives.
    unsafe { take_descriptors(&message, descriptors) };
    if CLOSE_ON_EXEC_LATER {
        for descriptor in &descriptors[before..] {
            rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
        }
    }
    Ok(Received {
        length,
        descriptors_lost: message.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// Takes what arrived into ownership: all of it, whatever else is wrong.
///
/// # Safety
///
/// `message` was filled by recvmsg just now, and its control data still lives.
#[allow(
    clippy::unnecessary_cast,
    reason = "the lengths have other types elsewhere"
)]
unsafe fn take_descriptors(message: &libc::msghdr, descriptors: &mut Vec<OwnedFd>) {
    let end = message.msg_control as usize + message.msg_controllen as usize;
    // SAFETY: the system wrote headers up to `msg_controllen`, which these walk.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: a header that these functions answer lies inside the control data.
        let (level, kind, length, data) = unsafe {
            let cmsg = &*header;
            let data = libc::CMSG_DATA(header);
            (
                cmsg.cmsg_level,
                cmsg.cmsg_type,
                cmsg.cmsg_len as usize,
                data,
            )
        };
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // Some systems leave the length that was sent when they cut control data.
            let stop = (header as usize + length).min(end);
            let count = stop.saturating_sub(data as usize) / size_of::<RawFd>();
            for index in 0..count {
                // SAFETY: the number lies before `stop`. It is a descriptor that the system made
                // for this call, and that nobody else knows.
                let descriptor = unsafe {
                    OwnedFd::from_raw_fd(data.cast::<RawFd>().add(index).read_unaligned())
                };
                descriptors.push(descriptor);
            }
        }
        // SAFETY: as for the first.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}

/// A message of one slice with room for control data.
fn message(slice: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: a message header of zeros is a valid one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Control>() as _;
    message
}

/// Aligned as headers of control data are. Beside `MAX_DESCRIPTORS` it has room for what programs
/// have the system add: credentials, times, security labels.
type Control = MaybeUninit<[u64; 192]>;

const _: () = assert!(size_of::<Control>() >= MAX_DESCRIPTORS * size_of::<RawFd>() + 128);
const _: () = assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());
const _: () = assert!(size_of::<BorrowedFd<'_>>() == size_of::<RawFd>());

#[cfg(not(target_vendor = "apple"))]
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
const FLAGS: i32 = libc::MSG_DONTWAIT;

/// Whether descriptors arrive without the flag.
const CLOSE_ON_EXEC_LATER: bool = cfg!(target_vendor = "apple");
