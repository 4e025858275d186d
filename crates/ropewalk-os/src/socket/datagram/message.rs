//! The header of one datagram in a batch, and the calls that take many.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::super::address::RawAddress;
use super::super::retry;

/// Linux's `mmsghdr`, on every system.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Message {
    header: libc::msghdr,
    /// How many bytes were received or sent.
    length: libc::c_uint,
}

impl Message {
    /// Without name, data or control data.
    pub(super) fn empty() -> Self {
        // SAFETY: a message of zeros is a valid one.
        unsafe { std::mem::zeroed() }
    }

    /// Is to be filled by the system with one datagram and the address of its sender.
    pub(super) fn receive_into(&mut self, slice: *mut libc::iovec, sender: &mut RawAddress) {
        self.header.msg_name = sender.pointer_mut().cast();
        self.header.msg_namelen = RawAddress::ROOM;
        self.header.msg_iov = slice;
        self.header.msg_iovlen = 1;
        self.header.msg_flags = 0;
        self.length = 0;
    }

    /// Is to be sent, to the peer when there is no address.
    pub(super) fn send_from(&mut self, slice: *mut libc::iovec, to: Option<&RawAddress>) {
        // sendmsg only reads the name.
        let name = to.map_or(std::ptr::null(), RawAddress::pointer);
        self.header.msg_name = name.cast_mut().cast();
        self.header.msg_namelen = to.map_or(0, RawAddress::length);
        self.header.msg_iov = slice;
        self.header.msg_iovlen = 1;
    }

    /// How many bytes were received.
    pub(super) fn length(&self) -> usize {
        self.length as usize
    }

    /// How much of the sender's address the system wrote.
    pub(super) fn name_length(&self) -> libc::socklen_t {
        self.header.msg_namelen
    }

    /// Whether the datagram was longer than the buffer.
    pub(super) fn is_truncated(&self) -> bool {
        self.header.msg_flags & libc::MSG_TRUNC != 0
    }
}

/// Receives up to as many datagrams as there are messages: at least one.
///
/// # Safety
///
/// The messages were made by [`Message::receive_into`]; the slices and names that they point to are
/// writable for their lengths.
pub(super) unsafe fn receive(
    fd: BorrowedFd<'_>,
    messages: &mut [Message],
    flags: i32,
) -> io::Result<usize> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let [message] = messages {
        // SAFETY: the caller's promise.
        return unsafe { receive_one(fd, message, flags) }.map(|()| 1);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let received = retry(|| {
            // SAFETY: the messages have the layout of `mmsghdr`, see below; what they point to is
            // the caller's promise.
            let count = unsafe {
                libc::recvmmsg(
                    fd.as_raw_fd(),
                    messages.as_mut_ptr().cast(),
                    messages.len() as libc::c_uint,
                    flags as _,
                    std::ptr::null_mut(),
                )
            };
            count as isize
        });
        if !is_missing(&received) {
            return received;
        }
    }
    // SAFETY: the caller's promise.
    unsafe { receive_one_by_one(fd, messages, flags) }
}

/// Receives into one message, by recvfrom: a header that the system reads and writes costs more than
/// arguments do.
///
/// # Safety
///
/// As [`receive`].
#[cfg(any(target_os = "linux", target_os = "android"))]
unsafe fn receive_one(fd: BorrowedFd<'_>, message: &mut Message, flags: i32) -> io::Result<()> {
    let header = &mut message.header;
    // SAFETY: the caller's promise, and that `receive_into` was called: there is one slice.
    let room = unsafe { *header.msg_iov };
    let length = retry(|| {
        // SAFETY: the room and the name are writable for their lengths: the caller's promise.
        unsafe {
            libc::recvfrom(
                fd.as_raw_fd(),
                room.iov_base,
                room.iov_len,
                // Has the length of the whole datagram answered, received or not.
                flags | libc::MSG_TRUNC,
                header.msg_name.cast(),
                &mut header.msg_namelen,
            )
        }
    })?;
    if length > room.iov_len {
        header.msg_flags |= libc::MSG_TRUNC;
    }
    message.length = length.min(room.iov_len) as libc::c_uint;
    Ok(())
}

/// [`receive`] for systems without such a call, and for filters of system calls that refuse it. An
/// error after the first datagram is lost with the datagram it was about, as in FreeBSD's
/// recvmmsg(3).
///
/// # Safety
///
/// As [`receive`].
pub(super) unsafe fn receive_one_by_one(
    fd: BorrowedFd<'_>,
    messages: &mut [Message],
    flags: i32,
) -> io::Result<usize> {
    for (index, message) in messages.iter_mut().enumerate() {
        // SAFETY: the header lives through the call, what it points to is the caller's promise.
        let received =
            retry(|| unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message.header, flags) });
        match received {
            Ok(length) => message.length = length as libc::c_uint,
            Err(error) if index == 0 => return Err(error),
            Err(_) => return Ok(index),
        }
    }
    Ok(messages.len())
}

/// Sends messages in order, up to the first that fails; an error is that of the first message.
///
/// # Safety
///
/// The slices and names that the messages point to are readable for their lengths.
pub(super) unsafe fn send(
    fd: BorrowedFd<'_>,
    messages: &mut [Message],
    flags: i32,
) -> io::Result<usize> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let sent = retry(|| {
            // SAFETY: as in `receive`.
            let count = unsafe {
                libc::sendmmsg(
                    fd.as_raw_fd(),
                    messages.as_mut_ptr().cast(),
                    messages.len() as libc::c_uint,
                    flags as _,
                )
            };
            count as isize
        });
        if !is_missing(&sent) {
            return sent;
        }
    }
    // SAFETY: the caller's promise.
    unsafe { send_one_by_one(fd, messages, flags) }
}

/// [`send`] for systems without such a call. Ends after the first message that fails, which the
/// next call sends again, and then answers its error.
///
/// # Safety
///
/// As [`send`].
pub(super) unsafe fn send_one_by_one(
    fd: BorrowedFd<'_>,
    messages: &mut [Message],
    flags: i32,
) -> io::Result<usize> {
    for (index, message) in messages.iter().enumerate() {
        // SAFETY: as in `receive_one_by_one`.
        let sent = retry(|| unsafe { libc::sendmsg(fd.as_raw_fd(), &message.header, flags) });
        match sent {
            Ok(_) => {}
            Err(error) if index == 0 => return Err(error),
            Err(_) => return Ok(index),
        }
    }
    Ok(messages.len())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_missing(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.raw_os_error() == Some(libc::ENOSYS))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const _: () = {
    use std::mem::{align_of, offset_of, size_of};
    assert!(size_of::<Message>() == size_of::<libc::mmsghdr>());
    assert!(align_of::<Message>() == align_of::<libc::mmsghdr>());
    assert!(offset_of!(Message, length) == offset_of!(libc::mmsghdr, msg_len));
};
