//! Where a UNIX socket is.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ropewalk_os::socket::unix;

/// The address of a UNIX socket: a path, a name in Linux's abstract namespace, or none. Clones
/// share the name.
///
/// Whatever takes one takes `impl Into<UnixAddr>`: a path or text. Text that begins with a zero
/// byte is an abstract name, as in Python and in the system itself. An address that the system does not
/// take, one that is too long for instance, is told apart when it is used.
///
/// # Examples
///
/// ```
/// use std::path::Path;
/// use ropewalk::UnixAddr;
///
/// assert_eq!(UnixAddr::from("/run/hello").as_path(), Some(Path::new("/run/hello")));
/// assert_eq!(UnixAddr::from("\0hello"), UnixAddr::abstract_name("hello"));
/// assert_eq!(UnixAddr::abstract_name("hello").to_string(), "@hello");
/// ```
///
/// # References
///
/// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html), "Address format".
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UnixAddr {
    /// The path, or a zero byte and the abstract name. Never empty.
    name: Option<Arc<[u8]>>,
}

impl UnixAddr {
    /// No name: what a client's socket has.
    pub const UNNAMED: Self = Self { name: None };

    /// A name in Linux's abstract namespace, which is not in the file system and goes with its last
    /// socket. Its length counts: `a` and `a\0` are two names.
    pub fn abstract_name(name: impl AsRef<[u8]>) -> Self {
        let name: Vec<u8> = [&[0], name.as_ref()].concat();
        Self {
            name: Some(name.into()),
        }
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
        self.name.is_none()
    }

    /// The path, or a zero byte and the abstract name, or nothing.
    pub fn as_bytes(&self) -> &[u8] {
        self.name.as_deref().unwrap_or_default()
    }

    /// What the system tells.
    pub(in crate::transport) fn from_system(address: &unix::UnixAddr) -> Self {
        Self::from_vec(address.as_bytes().to_vec())
    }

    /// What the system takes.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a name that is too long, or a path with a
    /// zero byte in it.
    pub(in crate::transport) fn to_system(&self) -> io::Result<unix::UnixAddr> {
        unix::UnixAddr::from_bytes(self.as_bytes())
    }

    fn from_vec(name: Vec<u8>) -> Self {
        Self {
            name: (!name.is_empty()).then(|| name.into()),
        }
    }
}

impl fmt::Display for UnixAddr {
    /// The path, `@` and the abstract name, or `(unnamed)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.as_path(), self.as_abstract_name()) {
            (Some(path), _) => path.display().fmt(f),
            (None, Some(name)) => write!(f, "@{}", name.escape_ascii()),
            (None, None) => f.write_str("(unnamed)"),
        }
    }
}

impl fmt::Debug for UnixAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixAddr({self})")
    }
}

impl From<&OsStr> for UnixAddr {
    fn from(name: &OsStr) -> Self {
        Self::from_vec(name.as_bytes().to_vec())
    }
}

impl From<OsString> for UnixAddr {
    fn from(name: OsString) -> Self {
        Self::from_vec(name.into_vec())
    }
}

impl From<&str> for UnixAddr {
    fn from(name: &str) -> Self {
        OsStr::new(name).into()
    }
}

impl From<&String> for UnixAddr {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}

impl From<String> for UnixAddr {
    fn from(name: String) -> Self {
        OsString::from(name).into()
    }
}

impl From<&Path> for UnixAddr {
    fn from(path: &Path) -> Self {
        path.as_os_str().into()
    }
}

impl From<&PathBuf> for UnixAddr {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

impl From<PathBuf> for UnixAddr {
    fn from(path: PathBuf) -> Self {
        path.into_os_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_byte_at_the_beginning_marks_an_abstract_name() {
        let name = UnixAddr::from("\0a\0b");
        assert_eq!(name.as_abstract_name(), Some(&b"a\0b"[..]));
        assert_eq!((name.as_path(), name.is_unnamed()), (None, false));
        assert_eq!(name.to_string(), "@a\\x00b");
        assert_eq!(name, UnixAddr::abstract_name(b"a\0b"));
    }

    #[test]
    fn a_path_is_shown_as_it_is() {
        let path = UnixAddr::from(Path::new("/tmp/some socket"));
        assert_eq!(path.to_string(), "/tmp/some socket");
        assert_eq!(path.as_path(), Some(Path::new("/tmp/some socket")));
        assert_eq!(path.as_abstract_name(), None);
        assert_eq!(path, UnixAddr::from("/tmp/some socket".to_owned()));
    }

    #[test]
    fn no_name_is_neither() {
        for unnamed in [UnixAddr::UNNAMED, UnixAddr::from("")] {
            assert!(unnamed.is_unnamed());
            assert_eq!(
                (unnamed.as_path(), unnamed.as_abstract_name()),
                (None, None)
            );
            assert_eq!(unnamed.to_string(), "(unnamed)");
        }
    }
}
