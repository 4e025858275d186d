//! The description of a child, and the way from there to a child.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
#[cfg(target_os = "linux")]
use std::sync::Arc;

use rustix::process::Gid;

#[cfg(target_os = "linux")]
use super::by_clone;
use super::by_fork::{self, Report};
use super::child::{Child, Exit};
use super::credentials::Credentials;
use super::error::{SpawnError, Step};
use super::notice::ExitNotice;
use super::prepared::{Prepared, check_numbers};
use crate::descriptors;

/// A description of a child process. Texts are bytes, as the system has them.
///
/// The child has the descriptors that are named here and no other; every signal has its default
/// action there and none is blocked.
///
/// # Examples
///
/// ```
/// use ropewalk_os::process::{ChildFd, Ended, ExitNotice, Spawn};
///
/// let mut spawn = Spawn::new("sh", ExitNotice::choose()?);
/// spawn.arguments(["sh", "-c", "exit 3"]).descriptor(1, ChildFd::Writes);
/// let mut spawned = spawn.spawn()?;
/// assert_eq!(spawned.child.wait()?, Ended::Exited(3));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Spawn<'fd> {
    program: Program,
    descriptors: BTreeMap<RawFd, ChildFd<'fd>>,
    terminal: Option<BorrowedFd<'fd>>,
    notice: ExitNotice,
}

/// What the program is and how it starts.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) name: Vec<u8>,
    pub(super) arguments: Vec<Vec<u8>>,
    pub(super) environment: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    pub(super) search_path: Option<Vec<u8>>,
    pub(super) directory: Option<Vec<u8>>,
    pub(super) file_mode_mask: Option<u32>,
    pub(super) group: Group,
    pub(super) credentials: Credentials,
}

/// What a descriptor of the child is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ChildFd<'fd> {
    /// The read end of a new pipe; the parent gets the write end.
    Reads,
    /// The write end of a new pipe; the parent gets the read end.
    Writes,
    /// The same as this one of the parent's, whatever its number and flags.
    Inherits(BorrowedFd<'fd>),
}

/// Which process group the child is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Group {
    /// The parent's.
    #[default]
    Inherited,
    /// The one with this id; 0 is a new one that the child leads.
    Process(i32),
    /// A new one in a new session, both of which the child leads. It has no controlling terminal.
    Session,
}

/// A child that runs its program, and our ends of its pipes.
#[derive(Debug)]
pub struct Spawned {
    /// The child.
    pub child: Child,
    /// Our ends, by the child's numbers: non-blocking and close-on-exec. The child's ends block.
    pub pipes: BTreeMap<RawFd, OwnedFd>,
}

impl<'fd> Spawn<'fd> {
    /// Describes a child that runs `program`, without descriptors, whose end is noticed by
    /// `notice`. Everything else it has from its parent.
    ///
    /// A program without a slash in its name is looked for, as by Python's `os.execvpe`, along the
    /// `PATH` of the child's environment; if that has none, of the parent's; else in `/bin` and
    /// `/usr/bin`. What is not there or cannot be run is passed over. If none can, the first error
    /// is told that says more than that. A script that names no interpreter is `ENOEXEC`:
    /// execvp(3) would hand it to a shell, `os.execvpe` and posix_spawnp(3) do not.
    pub fn new(program: impl Into<Vec<u8>>, notice: ExitNotice) -> Self {
        let name = program.into();
        Self {
            program: Program {
                arguments: vec![name.clone()],
                name,
                ..Program::default()
            },
            descriptors: BTreeMap::new(),
            terminal: None,
            notice,
        }
    }

    /// Notices its end by `notice`, in place of the one given at first.
    pub fn exit_notice(&mut self, notice: ExitNotice) -> &mut Self {
        self.notice = notice;
        self
    }

    /// Its arguments, the first being what it is called by. Without a call: its name alone.
    pub fn arguments<A: Into<Vec<u8>>>(&mut self, all: impl IntoIterator<Item = A>) -> &mut Self {
        self.program.arguments = all.into_iter().map(Into::into).collect();
        self
    }

    /// Its whole environment, names and values.
    pub fn environment<N: Into<Vec<u8>>, V: Into<Vec<u8>>>(
        &mut self,
        all: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        let all = all.into_iter();
        let all = all.map(|(name, value)| (name.into(), value.into()));
        self.program.environment = Some(all.collect());
        self
    }

    /// The directories in which the program is looked for, with colons between them, instead of a
    /// `PATH`. Relative ones are relative to the child's directory.
    pub fn search_path(&mut self, path: impl Into<Vec<u8>>) -> &mut Self {
        self.program.search_path = Some(path.into());
        self
    }

    /// Its working directory.
    pub fn directory(&mut self, path: impl Into<Vec<u8>>) -> &mut Self {
        self.program.directory = Some(path.into());
        self
    }

    /// The permissions that files it makes do not have, as umask(2) takes them.
    pub fn file_mode_mask(&mut self, mask: u32) -> &mut Self {
        self.program.file_mode_mask = Some(mask);
        self
    }

    /// The user it runs as. Then it is in no group beside [`group`](Self::group), or without one this
    /// process's, if this process is privileged, unless [`groups`](Self::groups) says otherwise.
    ///
    /// Changing user, group or groups makes the spawn cost what a fork(2) of this process does.
    pub fn user(&mut self, id: u32) -> &mut Self {
        self.program.credentials.user = Some(id);
        self
    }

    /// The group it runs as.
    pub fn group(&mut self, id: u32) -> &mut Self {
        self.program.credentials.group = Some(id);
        self
    }

    /// The other groups it is in: [`groups_of`](super::groups_of) tells those of a login.
    pub fn groups(&mut self, ids: impl IntoIterator<Item = u32>) -> &mut Self {
        let ids = ids.into_iter().map(Gid::from_raw_unchecked);
        self.program.credentials.groups = Some(ids.collect());
        self
    }

    /// One of its descriptors, by its number there.
    pub fn descriptor(&mut self, number: RawFd, what: ChildFd<'fd>) -> &mut Self {
        self.descriptors.insert(number, what);
        self
    }

    /// Its process group. Of no effect with a [`terminal`](Self::terminal).
    pub fn process_group(&mut self, group: Group) -> &mut Self {
        if self.terminal.is_none() {
            self.program.group = group;
        }
        self
    }

    /// Makes a terminal, by its slave, the child's controlling one and its descriptors 0, 1 and 2,
    /// in a new session: see [`Pty`](super::Pty).
    pub fn terminal(&mut self, slave: BorrowedFd<'fd>) -> &mut Self {
        self.terminal = Some(slave);
        self.program.group = Group::Session;
        for number in 0..3 {
            self.descriptors.insert(number, ChildFd::Inherits(slave));
        }
        self
    }

    /// Makes the child, and waits until it runs its program or has failed to: as long as the system
    /// takes to find and load it, half a millisecond mostly. Any thread may call it.
    ///
    /// # Errors
    ///
    /// At which step and with what; there is no child then, and no descriptor left open. With a
    /// full table: [`Step::Pipe`], [`Step::Watch`] or [`Step::Fork`].
    pub fn spawn(&self) -> Result<Spawned, SpawnError> {
        let wiring = Wiring::new(&self.descriptors)?;
        let child = self.make_child(&wiring.wanted)?;
        let pipes = wiring.ours;
        Ok(Spawned { child, pipes })
    }

    fn make_child(&self, wanted: &BTreeMap<RawFd, RawFd>) -> Result<Child, SpawnError> {
        let terminal = self.terminal.map(|slave| slave.as_raw_fd());
        let prepare = |spare| Prepared::new(&self.program, wanted, terminal, spare);
        #[cfg(target_os = "linux")]
        if matches!(self.notice, ExitNotice::Pidfd) {
            let (pid, pidfd) = by_clone::spawn(&prepare(None)?)?;
            return Ok(Child::new(pid, Exit::Pidfd(Arc::new(pidfd))));
        }
        let at_watch = SpawnError::at(Step::Watch);
        let queue = self.notice.queue().map_err(&at_watch)?;
        let report = Report::open(wanted).map_err(SpawnError::at(Step::Pipe))?;
        let prepared = prepare(Some(report.number()))?;
        let pid = by_fork::spawn(&prepared, report)?;
        let Some(mut queue) = queue else {
            return Ok(Child::new(pid, Exit::Signal));
        };
        if let Err(error) = queue.register(pid) {
            by_fork::end(pid);
            return Err(at_watch(error));
        }
        Ok(Child::new(pid, Exit::Queue(queue)))
    }
}

/// The pipes of a child that is to be.
struct Wiring {
    /// Number in the child, and in the parent.
    wanted: BTreeMap<RawFd, RawFd>,
    ours: BTreeMap<RawFd, OwnedFd>,
    /// The child's ends, closed here when the child has them.
    theirs: Vec<OwnedFd>,
}

impl Wiring {
    fn new(descriptors: &BTreeMap<RawFd, ChildFd<'_>>) -> Result<Self, SpawnError> {
        let mut wiring = Self {
            wanted: BTreeMap::new(),
            ours: BTreeMap::new(),
            theirs: Vec::new(),
        };
        for (number, what) in descriptors {
            wiring
                .add(*number, *what)
                .map_err(SpawnError::at(Step::Pipe))?;
        }
        check_numbers(&wiring.wanted)?;
        Ok(wiring)
    }

    fn add(&mut self, number: RawFd, what: ChildFd<'_>) -> io::Result<()> {
        let reads = match what {
            ChildFd::Inherits(fd) => {
                self.wanted.insert(number, fd.as_raw_fd());
                return Ok(());
            }
            ChildFd::Reads => true,
            ChildFd::Writes => false,
        };
        let [read, write] = descriptors::blocking_pipe()?;
        let (theirs, ours) = if reads { (read, write) } else { (write, read) };
        rustix::io::ioctl_fionbio(&ours, true)?;
        self.wanted.insert(number, theirs.as_raw_fd());
        self.ours.insert(number, ours);
        self.theirs.push(theirs);
        Ok(())
    }
}
