//! The birth of a child process: what Python describes, handed to the system in one call.

use std::collections::HashMap;
use std::io;
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::OnceLock;

use pyo3::prelude::*;
use ropewalk::os::process::{ChildFd, ExitNotice, Spawn};

use crate::datagram_io::os_error;
use crate::process::ChildProcess;
use crate::sources::lend;

/// A descriptor of the child: `"r"` and `"w"` are pipes that the parent reads and writes, a number
/// is one of the parent's.
#[derive(FromPyObject)]
pub(crate) enum Descriptor {
    Inherited(RawFd),
    Pipe(char),
}

/// A child, and the parent's ends of its pipes by the numbers they have in the child.
type Spawned = (ChildProcess, HashMap<RawFd, RawFd>);

/// A program and how it is started: the executable, its arguments and environment, the directories
/// in which it is looked for, with colons between them, and its working directory.
#[derive(FromPyObject)]
pub(crate) struct Program(
    Vec<u8>,
    Vec<Vec<u8>>,
    Vec<(Vec<u8>, Vec<u8>)>,
    Vec<u8>,
    Option<Vec<u8>>,
);

/// Makes a child that runs `program`, with `terminal` (by its slave) as its controlling one or with
/// `descriptors`; and waits until it runs.
///
/// The pipes are the caller's to close, and do not block.
///
/// # Errors
///
/// `OSError`: what the system, or the child on the way to its program, failed with. There is no
/// child then.
#[pyfunction]
#[pyo3(signature = (program, descriptors=HashMap::new(), terminal=None))]
pub(crate) fn spawn_child(
    py: Python<'_>,
    program: Program,
    descriptors: HashMap<RawFd, Descriptor>,
    terminal: Option<RawFd>,
) -> PyResult<Spawned> {
    let failed = |error: io::Error| os_error(py, &error);
    let Program(executable, arguments, environment, search_path, directory) = program;
    let mut spawn = Spawn::new(executable, notice().map_err(failed)?);
    spawn
        .arguments(arguments)
        .environment(environment)
        .search_path(search_path);
    if let Some(directory) = directory {
        spawn.directory(directory);
    }
    for (number, descriptor) in descriptors {
        spawn.descriptor(number, descriptor.for_child()?);
    }
    if let Some(slave) = terminal {
        spawn.terminal(lend(slave)?);
    }
    let spawned = spawn.spawn().map_err(|error| failed(error.into()))?;
    let pipes = spawned.pipes.into_iter();
    let pipes = pipes.map(|(number, ours)| (number, ours.into_raw_fd()));
    Ok((ChildProcess::new(spawned.child), pipes.collect()))
}

/// Whether this system tells a loop of the end of each of its children.
///
/// # Errors
///
/// `OSError`: there is no descriptor left to find out.
#[pyfunction]
pub(crate) fn can_watch_children(py: Python<'_>) -> PyResult<bool> {
    match notice() {
        Ok(notice) => Ok(!matches!(notice, ExitNotice::ChildSignal)),
        Err(error) => Err(os_error(py, &error)),
    }
}

/// How the end of a child is noticed on this system, found out once.
fn notice() -> io::Result<ExitNotice> {
    static NOTICE: OnceLock<ExitNotice> = OnceLock::new();
    if let Some(notice) = NOTICE.get() {
        return Ok(*notice);
    }
    let notice = ExitNotice::choose()?;
    Ok(*NOTICE.get_or_init(|| notice))
}

impl Descriptor {
    fn for_child(self) -> PyResult<ChildFd<'static>> {
        match self {
            Self::Inherited(number) => lend(number).map(ChildFd::Inherits),
            Self::Pipe('w') => Ok(ChildFd::Reads),
            Self::Pipe(_) => Ok(ChildFd::Writes),
        }
    }
}
