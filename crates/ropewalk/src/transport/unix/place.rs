//! The file of a bound UNIX socket.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ropewalk_os::lock_file::{LockFile, lock_path};
use ropewalk_os::socket::unix;

use super::UnixAddr;

/// The path that a socket was bound to. Dropped, it removes the path, unless that is somebody
/// else's by now; it has to be dropped before the socket is closed.
#[derive(Debug)]
pub(in crate::transport) struct Place {
    /// Absolute, for the process may change its directory.
    path: PathBuf,
    /// The file's device and inode. The system keeps the inode while the socket is open, so that it
    /// cannot be another file's.
    identity: (u64, u64),
    /// Released when the path is gone, or is not ours any more.
    lock: Option<LockFile>,
}

/// How the file of a socket is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::transport) struct FileOptions {
    /// The mode to set, if it is not to be the one that the umask leaves.
    pub(in crate::transport) mode: Option<u32>,
    /// Whether a lock beside it says who made it.
    pub(in crate::transport) lock: bool,
}

/// Binds `fd` to `address`, and answers the path to remove if it is one.
pub(in crate::transport) fn bind(
    fd: BorrowedFd<'_>,
    address: &UnixAddr,
    options: FileOptions,
) -> io::Result<Option<Place>> {
    let system = address.to_system()?;
    match address.as_path() {
        Some(path) => Place::bind(fd, path, &system, options).map(Some),
        None => unix::bind(fd, &system).map(|()| None),
    }
}

impl Place {
    /// Binds `fd` to `path`, whose form for the system is `address`.
    fn bind(
        fd: BorrowedFd<'_>,
        path: &Path,
        address: &unix::UnixAddr,
        options: FileOptions,
    ) -> io::Result<Self> {
        let absolute = std::path::absolute(path)?;
        let lock = match options.lock {
            true => Some(acquire(&absolute)?),
            false => None,
        };
        unix::bind(fd, address)?;
        let place = Self {
            identity: identity(&fs::symlink_metadata(&absolute)?),
            path: absolute,
            lock,
        };
        if let Some(mode) = options.mode {
            fs::set_permissions(&place.path, Permissions::from_mode(mode))?;
        }
        Ok(place)
    }
}

/// Takes the lock of `path`, and removes the socket that a killed holder has left there.
fn acquire(path: &Path) -> io::Result<LockFile> {
    let Some(lock) = LockFile::try_acquire(lock_path(path))? else {
        let text = "another process holds the lock of the path";
        return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
    };
    let left = fs::symlink_metadata(path);
    if !lock.is_clean() && left.is_ok_and(|left| left.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    Ok(lock)
}

impl Place {
    fn remove(&self) {
        let found = fs::symlink_metadata(&self.path);
        if !found.is_ok_and(|found| identity(&found) == self.identity) {
            tracing::debug!(path = %self.path.display(), "the socket's path is gone already");
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket's path");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.remove();
        if let Some(Err(error)) = self.lock.take().map(LockFile::release) {
            tracing::warn!(path = %self.path.display(), %error, "cannot release the socket's lock");
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
