//! Child processes: what [`Reactor::spawn_process`](crate::Reactor::spawn_process) takes and gives.
//!
//! A [`Command`] describes the child, a [`ProcessProtocol`] handles it, a [`Process`] writes to it,
//! closes its descriptors and sends it signals.

pub use ropewalk_os::process::{ChildFd, Ended, ExitNotice, Group, Step, WindowSize};

pub use crate::transport::{Command, Process, ProcessProtocol};
