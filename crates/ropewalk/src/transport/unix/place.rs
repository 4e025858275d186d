//! The file of a listening UNIX socket.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ropewalk_os::socket::unix;

use super::UnixListenOptions;

/// The path that a socket was bound to. Dropped, it removes the path, unless that is somebody else's
/// by now; it has to be dropped before the socket is closed.
#[derive(Debug)]
pub(in crate::transport) struct Place {
    /// Absolute, for the process may change its directory.
    path: PathBuf,
    /// The file's device and inode. The system keeps the inode while the socket is open, so that it
    /// cannot be another file's.
    identity: (u64, u64),
}

impl Place {
    /// Binds `fd` to `path`, whose form for the system is `address`.
    pub(super) fn bind(
        fd: BorrowedFd<'_>,
        path: &Path,
        address: &unix::UnixAddr,
        options: &UnixListenOptions,
    ) -> io::Result<Self> {
        let absolute = std::path::absolute(path)?;
        unix::bind(fd, address)?;
        let place = Self {
            identity: identity(&fs::symlink_metadata(&absolute)?),
            path: absolute,
        };
        if let Some(mode) = options.mode {
            fs::set_permissions(&place.path, Permissions::from_mode(mode))?;
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
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

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
