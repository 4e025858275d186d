//! Child processes: their birth, their end, their terminals.
//!
//! [`Spawn`] describes a child and makes it. Everything it needs is in memory before there is a
//! child, which then makes system calls only, and tells at which [`Step`] it failed and why. A
//! [`Child`] is waited for once, by its own identity; [`Watch`] says what to watch for that. No
//! `SIGCHLD` handler is installed or needed, where the system has something better.
//!
//! # References
//!
//! [execve(2)](https://man7.org/linux/man-pages/man2/execve.2.html),
//! [pidfd_open(2)](https://man7.org/linux/man-pages/man2/pidfd_open.2.html),
//! [signal-safety(7)](https://man7.org/linux/man-pages/man7/signal-safety.7.html)

mod between;
#[cfg(target_os = "linux")]
mod by_clone;
mod by_fork;
mod child;
mod close;
mod credentials;
mod error;
mod kernel_queue;
mod moves;
mod notice;
#[cfg(target_os = "linux")]
mod pidfd;
mod prepared;
mod pty;
mod reaper;
mod signals;
mod spawn;
mod users;

pub use child::{Child, Ended, Watch};
pub use error::{SpawnError, Step};
pub use notice::ExitNotice;
pub use pty::{Pty, WindowSize, read_master, set_window_size, window_size};
pub use reaper::Reaper;
pub use spawn::{ChildFd, Group, Spawn, Spawned};
pub use users::groups_of;
