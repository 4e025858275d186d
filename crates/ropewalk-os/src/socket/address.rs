//! Addresses of sockets that may be internet or UNIX ones, and their form in system calls.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::mem::{MaybeUninit, offset_of, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::net::SocketAddrAny;

/// Where a datagram comes from or goes to. Holds its bytes itself: making one allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// An internet address; the IPv6 scope is kept.
    Inet(SocketAddr),
    /// The address of a UNIX socket.
    Unix(UnixAddr),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl From<UnixAddr> for Address {
    fn from(address: UnixAddr) -> Self {
        Self::Unix(address)
    }
}

/// The address of a UNIX socket: a path, a name in Linux's abstract namespace, or none.
///
/// # References
///
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html), "Address format".
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnixAddr {
    /// The path, or a zero byte and the abstract name; zeros after that.
    name: [u8; UnixAddr::ROOM],
    /// How much of `name` is used.
    length: u8,
}

impl UnixAddr {
    /// What the system keeps of a name: 108 bytes on Linux. A path needs one of them for its end,
    /// an abstract name one for its beginning.
    pub const ROOM: usize = size_of::<libc::sockaddr_un>() - PATH_OFFSET;

    /// No name: what a socket that was not bound has. A Linux socket bound to it is given an
    /// abstract name by the system.
    pub const UNNAMED: Self = Self {
        name: [0; Self::ROOM],
        length: 0,
    };

    /// A path in the file system.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the path is empty, contains a zero byte
    /// or is longer than the system takes; the text names the limit.
    pub fn from_path(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().as_os_str().as_bytes();
        if path.is_empty() || path.contains(&0) {
            let text = "the path of a UNIX socket is not empty and contains no zero byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if path.len() >= Self::ROOM {
            return Err(too_long("path", path.len()));
        }
        Ok(Self::filled(&[path]))
    }

    /// A name in Linux's abstract namespace, given without the zero byte that marks it. It may
    /// contain zero bytes, and its length counts: `a` and `a\0` are two names.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) when the name is longer than the system takes;
    /// [`Unsupported`](io::ErrorKind::Unsupported) on systems without that namespace.
    pub fn from_abstract_name(name: &[u8]) -> io::Result<Self> {
        if !HAS_ABSTRACT_NAMES {
            let text = "only Linux has abstract names of UNIX sockets";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        if name.len() >= Self::ROOM {
            return Err(too_long("abstract name", name.len()));
        }
        Ok(Self::filled(&[&[0], name]))
    }

    /// The form that [`as_bytes`](Self::as_bytes) answers: a zero byte begins an abstract name, no
    /// byte at all is no name, and anything else is a path.
    ///
    /// # Errors
    ///
    /// As [`from_path`](Self::from_path) and [`from_abstract_name`](Self::from_abstract_name).
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        match bytes {
            [] => Ok(Self::UNNAMED),
            [0, name @ ..] => Self::from_abstract_name(name),
            path => Self::from_path(OsStr::from_bytes(path)),
        }
    }

    /// The path, or a zero byte and the abstract name, or nothing.
    pub fn as_bytes(&self) -> &[u8] {
        &self.name[..usize::from(self.length)]
    }

    /// The path, if it is one.
    pub fn as_path(&self) -> Option<&Path> {
        match self.as_bytes() {
            [] | [0, ..] => None,
            path => Some(Path::new(OsStr::from_bytes(path))),
        }
    }

    /// The abstract name without the zero byte that marks it, if it is one.
    pub fn as_abstract_name(&self) -> Option<&[u8]> {
        self.as_bytes().strip_prefix(&[0])
    }

    /// Whether there is no name.
    pub fn is_unnamed(&self) -> bool {
        self.length == 0
    }

    /// `parts`, which fit together, as the name.
    fn filled(parts: &[&[u8]]) -> Self {
        let mut address = Self::UNNAMED;
        for part in parts {
            let start = usize::from(address.length);
            address.name[start..start + part.len()].copy_from_slice(part);
            address.length += part.len() as u8;
        }
        address
    }

    /// What the system tells. Other systems than Linux pad an absent name with zeros, and some
    /// count the zero byte that ends a path while others do not.
    fn from_system(name: &[u8]) -> Self {
        let name = &name[..name.len().min(Self::ROOM)];
        match name {
            [0, ..] if HAS_ABSTRACT_NAMES => Self::filled(&[name]),
            path => {
                let end = path.iter().position(|byte| *byte == 0);
                Self::filled(&[&path[..end.unwrap_or(path.len())]])
            }
        }
    }
}

impl fmt::Debug for UnixAddr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_path(), self.as_abstract_name()) {
            (Some(path), _) => write!(formatter, "{path:?}"),
            (None, Some(name)) => write!(formatter, "\"@{}\"", name.escape_ascii()),
            (None, None) => formatter.write_str("(unnamed)"),
        }
    }
}

/// getsockname(2) and getpeername(2).
pub(super) type Ask = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

/// An address as system calls take and give it, in place.
#[derive(Clone, Copy)]
pub(super) struct RawAddress {
    storage: MaybeUninit<libc::sockaddr_storage>,
    length: libc::socklen_t,
}

impl RawAddress {
    /// Room for any address, and none in it.
    pub(super) const EMPTY: Self = Self {
        storage: MaybeUninit::zeroed(),
        length: 0,
    };

    /// The form of `address`.
    pub(super) fn new(address: &Address) -> Self {
        let mut raw = Self::EMPTY;
        raw.set(address);
        raw
    }

    /// What `call`, getsockname(2) or getpeername(2), tells of a socket.
    pub(super) fn asked(fd: BorrowedFd<'_>, call: Ask) -> io::Result<Self> {
        let mut raw = Self::EMPTY;
        raw.length = Self::ROOM;
        // SAFETY: both calls write at most as many bytes as the length says, which is how much
        // room there is, and how many there were.
        let result = unsafe { call(fd.as_raw_fd(), raw.pointer_mut(), &mut raw.length) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(raw)
    }

    /// What an accept told.
    pub(super) fn from_rustix(address: &SocketAddrAny) -> Self {
        let mut raw = Self::EMPTY;
        raw.length = address.addr_len().min(Self::ROOM);
        let from = address.as_ptr().cast::<u8>();
        let to = raw.storage.as_mut_ptr().cast::<u8>();
        // SAFETY: an address of that type has so many initialized bytes, and both have room for
        // them; they are two different variables.
        unsafe { from.copy_to_nonoverlapping(to, raw.length as usize) };
        raw
    }

    /// Becomes the form of `address`.
    pub(super) fn set(&mut self, address: &Address) {
        match address {
            Address::Inet(SocketAddr::V4(address)) => self.put(v4(address)),
            Address::Inet(SocketAddr::V6(address)) => self.put(v6(address)),
            Address::Unix(address) => {
                self.put(unix(address));
                // A path ends with a zero byte where there is room for it. An abstract name must
                // not: its length is part of it, and no name has no byte at all.
                let end = address.as_path().is_some() && address.as_bytes().len() < UnixAddr::ROOM;
                let length = PATH_OFFSET + address.as_bytes().len() + usize::from(end);
                self.length = length as libc::socklen_t;
            }
        }
    }

    /// The system's number of the family; `AF_UNSPEC` when there is no address.
    pub(super) fn family(&self) -> i32 {
        if (self.length as usize) < FAMILY_END {
            return libc::AF_UNSPEC;
        }
        // SAFETY: `storage` was zeroed to begin with, and only calls and `put` wrote to it: it is
        // initialized, and integers are valid whatever their bytes.
        let storage = unsafe { self.storage.assume_init_ref() };
        i32::from(storage.ss_family)
    }

    /// The address that a system call put here, if it is of a family known here.
    pub(super) fn decode(&self) -> Option<Address> {
        let length = (self.length as usize).min(size_of::<libc::sockaddr_storage>());
        match self.family() {
            libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
                // SAFETY: the storage is aligned for and larger than any address, see `put`.
                Some(from_v4(unsafe { &*self.pointer().cast() }))
            }
            libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => {
                // SAFETY: as above.
                Some(from_v6(unsafe { &*self.pointer().cast() }))
            }
            libc::AF_UNIX => {
                let start = self.pointer().cast::<u8>();
                // SAFETY: `length` is at most the size of the storage, which is initialized.
                let bytes = unsafe { std::slice::from_raw_parts(start, length) };
                let name = bytes.get(PATH_OFFSET..).unwrap_or_default();
                Some(Address::Unix(UnixAddr::from_system(name)))
            }
            _ => None,
        }
    }

    /// For the name of a call; valid as long as this is borrowed or in its place.
    pub(super) fn pointer(&self) -> *const libc::sockaddr {
        self.storage.as_ptr().cast()
    }

    /// For a call that writes an address of at most [`ROOM`](Self::ROOM) bytes.
    pub(super) fn pointer_mut(&mut self) -> *mut libc::sockaddr {
        self.storage.as_mut_ptr().cast()
    }

    /// How much of it counts, in bytes.
    pub(super) fn length(&self) -> libc::socklen_t {
        self.length
    }

    /// Notes how much of it a call wrote.
    pub(super) fn set_length(&mut self, length: libc::socklen_t) {
        self.length = length;
    }

    /// How long an address may be, in bytes.
    pub(super) const ROOM: libc::socklen_t = size_of::<libc::sockaddr_storage>() as _;

    fn put<T>(&mut self, address: T) {
        const {
            assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>());
            assert!(align_of::<T>() <= align_of::<libc::sockaddr_storage>());
        }
        // SAFETY: the storage is writable, aligned and large enough, as just checked. Padding in
        // `T` is none: these structures are made of integers without gaps, and zeroed first.
        unsafe { self.storage.as_mut_ptr().cast::<T>().write(address) };
        self.length = size_of::<T>() as libc::socklen_t;
    }
}

// The length field of the BSDs' addresses is the system's: it sets it from the call's argument.

fn v4(address: &SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: an address of zeros is a valid value.
    let mut raw: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    raw.sin_family = libc::AF_INET as libc::sa_family_t;
    raw.sin_port = address.port().to_be();
    raw.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
    raw
}

fn from_v4(raw: &libc::sockaddr_in) -> Address {
    let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
    Address::Inet(SocketAddr::new(ip.into(), u16::from_be(raw.sin_port)))
}

fn v6(address: &SocketAddrV6) -> libc::sockaddr_in6 {
    // SAFETY: as in `v4`.
    let mut raw: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
    raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    raw.sin6_port = address.port().to_be();
    raw.sin6_flowinfo = address.flowinfo();
    raw.sin6_addr.s6_addr = address.ip().octets();
    raw.sin6_scope_id = address.scope_id();
    raw
}

fn from_v6(raw: &libc::sockaddr_in6) -> Address {
    let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
    let port = u16::from_be(raw.sin6_port);
    let address = SocketAddrV6::new(ip, port, raw.sin6_flowinfo, raw.sin6_scope_id);
    Address::Inet(address.into())
}

fn unix(address: &UnixAddr) -> libc::sockaddr_un {
    // SAFETY: as in `v4`.
    let mut raw: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (place, byte) in raw.sun_path.iter_mut().zip(address.as_bytes()) {
        *place = *byte as libc::c_char;
    }
    raw
}

fn too_long(what: &str, length: usize) -> io::Error {
    let (room, most) = (UnixAddr::ROOM, UnixAddr::ROOM - 1);
    let text = format!(
        "the {what} of a UNIX socket has at most {most} bytes ({room} with its mark), not {length}"
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Where the family ends: behind the length that the BSDs begin with.
const FAMILY_END: usize = offset_of!(libc::sockaddr, sa_family) + size_of::<libc::sa_family_t>();

const PATH_OFFSET: usize = offset_of!(libc::sockaddr_un, sun_path);

const HAS_ABSTRACT_NAMES: bool = cfg!(any(target_os = "linux", target_os = "android"));
