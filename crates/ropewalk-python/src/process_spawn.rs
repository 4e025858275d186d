//! The birth of a child process: what Python describes, handed to the system in one call.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
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
/// in which it is looked for, with colons between them, its working directory, and whose it is.
#[derive(FromPyObject)]
pub(crate) struct Program(
    Vec<u8>,
    Vec<Text>,
    Environment,
    Vec<u8>,
    Option<Vec<u8>>,
    Option<Identity>,
);

/// What the system is given for a text of Python's: `bytes` as they are, a `str` as `os.fsencode`
/// has it.
struct Text(Vec<u8>);

/// Names and values.
struct Environment(Vec<(Vec<u8>, Vec<u8>)>);

/// User, group, and all groups.
#[derive(FromPyObject)]
pub(crate) struct Identity(u32, u32, Vec<u32>);

/// Makes a child that runs `program`, with `terminal` (by its slave) as its controlling one or with
/// `descriptors`; and waits until it runs.
///
/// The pipes are the caller's to close, and do not block.
///
/// # Errors
///
/// - `OSError`: what the system, or the child on the way to its program, failed with.
/// - `TypeError`, `ValueError`: what is no text, or cannot be encoded; what no variable is called.
///
/// There is no child then.
#[pyfunction]
#[pyo3(signature = (program, descriptors=HashMap::new(), terminal=None))]
pub(crate) fn spawn_child(
    py: Python<'_>,
    program: Program,
    descriptors: HashMap<RawFd, Descriptor>,
    terminal: Option<RawFd>,
) -> PyResult<Spawned> {
    let failed = |error: io::Error| os_error(py, &error);
    let Program(executable, arguments, environment, search_path, directory, identity) = program;
    let mut spawn = Spawn::new(executable, notice().map_err(failed)?);
    spawn
        .arguments(arguments.into_iter().map(|argument| argument.0))
        .environment(environment.0)
        .search_path(search_path);
    if let Some(directory) = directory {
        spawn.directory(directory);
    }
    if let Some(Identity(user, group, groups)) = identity {
        spawn.user(user).group(group).groups(groups);
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

impl<'py> FromPyObject<'_, 'py> for Text {
    type Error = PyErr;

    fn extract(text: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = text.cast::<PyBytes>() {
            return Ok(Self(bytes.as_bytes().to_vec()));
        }
        let encoded: OsString = text.extract()?;
        Ok(Self(encoded.into_vec()))
    }
}

impl<'py> FromPyObject<'_, 'py> for Environment {
    type Error = PyErr;

    fn extract(variables: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let variables = variables.cast::<PyDict>()?;
        let mut all = Vec::with_capacity(variables.len());
        // Nothing in here runs Python, which could change the dict.
        for (name, value) in variables.iter() {
            let (Text(name), Text(value)) = (name.extract()?, value.extract()?);
            if name.is_empty() || name.contains(&b'=') {
                return Err(PyValueError::new_err("no variable has such a name"));
            }
            all.push((name, value));
        }
        Ok(Self(all))
    }
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
