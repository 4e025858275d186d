//! What a child process runs, and how.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use ropewalk_os::process::{
    Child, ChildFd, ExitNotice, Group, Pty, Spawn, Step, WindowSize, set_window_size,
};

use crate::error::Error;
use crate::transport::pipe::Ways;

/// A description of a child process, for [`Reactor::spawn_process`](crate::Reactor::spawn_process).
///
/// Texts are bytes, as the system has them (`OsStr::from_bytes`). Unless told otherwise, the child
/// has pipes for standard input, output and error and no other descriptor at all, the environment
/// and the working directory of this process, and its user and group. Every signal has its default
/// action there and none is blocked.
///
/// The names are those of [`std::process::Command`], where that has the same.
///
/// # Examples
///
/// ```
/// use ropewalk::process::{ChildFd, Command};
///
/// // Its descriptor 5 is a pipe that we write to, 2 goes where ours goes, and 0 is closed.
/// let errors = std::io::stderr();
/// let command = Command::new("sh")
///     .args(["-c", "cat <&5"])
///     .env("LC_ALL", "C")
///     .fd(5, ChildFd::Reads)
///     .fd(2, ChildFd::Inherits(std::os::fd::AsFd::as_fd(&errors)))
///     .without_fd(0);
/// # drop(command);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Command<'fd> {
    program: Vec<u8>,
    name: Vec<u8>,
    arguments: Vec<Vec<u8>>,
    environment: Environment,
    descriptors: BTreeMap<i32, ChildFd<'fd>>,
    terminal: Option<WindowSize>,
    /// Everything else.
    spawn: Spawn<'fd>,
}

/// How the child's environment differs from this process's.
#[derive(Clone, Debug, Default)]
struct Environment {
    cleared: bool,
    /// Values that are set, and names that are removed.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// A child that was just made.
pub(super) struct Spawning {
    pub(super) child: Child,
    /// Our ends of its pipes, by the child's numbers, and its terminal.
    pub(super) pipes: Vec<(i32, Ways, OwnedFd)>,
}

/// The number by which a terminal is known to its protocol.
pub(super) const TERMINAL: i32 = 1;

impl<'fd> Command<'fd> {
    /// Runs `program`. One without a slash in its name is looked for along the `PATH` of the
    /// child's environment; if that has none, of this process's; else in `/bin` and `/usr/bin`. What
    /// cannot be run there is passed over. No shell is tried for a script without a `#!`: that is
    /// `ENOEXEC`, as with posix_spawnp(3).
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = bytes(program);
        let pipes = [
            (0, ChildFd::Reads),
            (1, ChildFd::Writes),
            (2, ChildFd::Writes),
        ];
        Self {
            name: program.clone(),
            arguments: Vec::new(),
            environment: Environment::default(),
            descriptors: BTreeMap::from(pipes),
            terminal: None,
            // The reactor has its own way.
            spawn: Spawn::new(program.clone(), ExitNotice::ChildSignal),
            program,
        }
    }

    /// One more argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(bytes(argument));
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, all: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(all.into_iter().map(bytes));
        self
    }

    /// What the program is told it is called, in place of its name.
    pub fn arg0(mut self, name: impl AsRef<OsStr>) -> Self {
        self.name = bytes(name);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let changes = &mut self.environment.changes;
        changes.insert(bytes(name), Some(bytes(value)));
        self
    }

    /// Sets several.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        self,
        all: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let set = |command: Self, (name, value)| command.env(name, value);
        all.into_iter().fold(self, set)
    }

    /// Removes a variable of its environment.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.changes.insert(bytes(name), None);
        self
    }

    /// Has it inherit no variable, and forgets those that were set before.
    pub fn env_clear(mut self) -> Self {
        self.environment = Environment {
            cleared: true,
            ..Environment::default()
        };
        self
    }

    /// The directories in which the program is looked for, with colons between them, in place of
    /// a `PATH`.
    pub fn search_path(mut self, path: impl AsRef<OsStr>) -> Self {
        self.spawn.search_path(bytes(path));
        self
    }

    /// Its working directory.
    pub fn current_dir(mut self, path: impl AsRef<OsStr>) -> Self {
        self.spawn.directory(bytes(path));
        self
    }

    /// The permissions that files it makes do not have, as umask(2) takes them.
    pub fn umask(mut self, mask: u32) -> Self {
        self.spawn.file_mode_mask(mask);
        self
    }

    /// The user it runs as. Then it is in no group but the one of [`gid`](Self::gid), or without one
    /// this process's, if this process is privileged, unless [`groups`](Self::groups) says otherwise.
    pub fn uid(mut self, id: u32) -> Self {
        self.spawn.user(id);
        self
    }

    /// The group it runs as.
    pub fn gid(mut self, id: u32) -> Self {
        self.spawn.group(id);
        self
    }

    /// The other groups it is in.
    pub fn groups(mut self, ids: impl IntoIterator<Item = u32>) -> Self {
        self.spawn.groups(ids);
        self
    }

    /// Its process group. Of no effect in a [`terminal`](Self::terminal), where it leads its own.
    pub fn process_group(mut self, group: Group) -> Self {
        self.spawn.process_group(group);
        self
    }

    /// What its descriptor `number` is.
    pub fn fd(mut self, number: i32, what: ChildFd<'fd>) -> Self {
        self.descriptors.insert(number, what);
        self
    }

    /// Leaves its descriptor `number` closed.
    pub fn without_fd(mut self, number: i32) -> Self {
        self.descriptors.remove(&number);
        self
    }

    /// Runs it in a terminal of its own, a new one of this size, which is its descriptors 0, 1 and
    /// 2 and its controlling terminal. What it writes there is received as from descriptor 1; what
    /// is written to 0 or 1 is typed in there.
    pub fn terminal(mut self, size: WindowSize) -> Self {
        self.terminal = Some(size);
        self
    }

    /// Its program, as it is to be shown.
    pub(super) fn program(&self) -> String {
        String::from_utf8_lossy(&self.program).into_owned()
    }

    /// Makes the child.
    pub(super) fn spawn(&self, notice: ExitNotice) -> Result<Spawning, Error> {
        let pty = self.terminal.map(open_terminal).transpose();
        let pty = pty.map_err(|source| self.failed(Step::Terminal, source))?;
        let mut spawn = self.describe(notice);
        if let Some(pty) = &pty {
            spawn.terminal(pty.slave.as_fd());
        }
        let spawned = spawn.spawn();
        let spawned = spawned.map_err(|error| self.failed(error.step(), error.into()))?;
        let pipes = spawned.pipes.into_iter();
        let pipes = pipes.map(|(number, fd)| (number, self.ways(number), fd));
        let terminal = pty.map(|pty| (TERMINAL, Ways::Both, pty.master));
        Ok(Spawning {
            child: spawned.child,
            pipes: terminal.into_iter().chain(pipes).collect(),
        })
    }

    /// Which ways data goes on our end of a pipe.
    fn ways(&self, number: i32) -> Ways {
        match self.descriptors.get(&number) {
            Some(ChildFd::Reads) => Ways::Out,
            _ => Ways::In,
        }
    }

    fn describe<'a>(&'a self, notice: ExitNotice) -> Spawn<'a> {
        let mut spawn: Spawn<'a> = self.spawn.clone();
        spawn.exit_notice(notice);
        spawn.arguments([&self.name].into_iter().chain(&self.arguments).cloned());
        if let Some(environment) = self.environment.whole() {
            spawn.environment(environment);
        }
        for (number, what) in &self.descriptors {
            spawn.descriptor(*number, *what);
        }
        spawn
    }

    fn failed(&self, step: Step, source: io::Error) -> Error {
        let program = self.program();
        Error::Spawn {
            program,
            step,
            source,
        }
    }
}

impl Environment {
    /// All of it; nothing if it is this process's.
    fn whole(&self) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
        if !self.cleared && self.changes.is_empty() {
            return None;
        }
        let ours = (!self.cleared).then(std::env::vars_os);
        let ours = ours.into_iter().flatten();
        let mut all: BTreeMap<_, _> = ours
            .map(|(name, value)| (name.into_vec(), value.into_vec()))
            .collect();
        for (name, value) in &self.changes {
            match value {
                Some(value) => all.insert(name.clone(), value.clone()),
                None => all.remove(name),
            };
        }
        Some(all)
    }
}

fn open_terminal(size: WindowSize) -> io::Result<Pty> {
    let pty = Pty::open()?;
    set_window_size(&pty.master, size)?;
    Ok(pty)
}

fn bytes(text: impl AsRef<OsStr>) -> Vec<u8> {
    text.as_ref().as_bytes().to_vec()
}
