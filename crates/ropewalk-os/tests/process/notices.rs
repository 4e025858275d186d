//! Which way of noticing an end there is, and queues as other systems have them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

use ropewalk_os::kqueue::{KernelEvent, Kqueue};
use ropewalk_os::process::{Ended, ExitNotice, Spawn, SpawnError, Spawned, Step, Watch};

use crate::exhaustion::Limit;
use crate::fixture::alone;
use crate::seccomp::refuse;

/// A queue that answers every call with an error.
struct Refusing {
    fd: Option<OwnedFd>,
    errno: i32,
}

impl Kqueue for Refusing {
    fn kevent(
        &mut self,
        _changes: &[KernelEvent],
        _events: &mut [KernelEvent],
        _timeout: Option<Duration>,
    ) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(self.errno))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(OwnedFd::as_fd)
    }
}

fn refusing(errno: i32) -> io::Result<Box<dyn Kqueue>> {
    let fd = Some(rustix::pipe::pipe()?.0);
    Ok(Box::new(Refusing { fd, errno }))
}

fn spawn(notice: ExitNotice) -> Result<Spawned, SpawnError> {
    let mut spawn = Spawn::new("/bin/sh", notice);
    spawn.arguments(["sh", "-c", "exit 3"]).spawn()
}

/// The child there was then is ended and waited for: `alone` looks for it.
#[test]
fn a_queue_that_takes_no_child_fails_the_spawn() {
    alone(|| {
        let notice = ExitNotice::KernelQueue(|| refusing(libc::ENOMEM));
        let error = spawn(notice).unwrap_err();
        let errno = error.io_error().raw_os_error();
        assert_eq!((error.step(), errno), (Step::Watch, Some(libc::ENOMEM)));
    });
}

#[test]
fn a_queue_that_no_loop_can_watch_is_refused() {
    alone(|| {
        let notice = ExitNotice::KernelQueue(|| Ok(Box::new(Refusing { fd: None, errno: 0 })));
        let error = spawn(notice).unwrap_err();
        assert_eq!(error.step(), Step::Watch);
        assert_eq!(error.io_error().kind(), io::ErrorKind::Unsupported);
    });
}

/// macOS has no event for a child that has ended already. The first look finds the end.
#[test]
fn a_child_that_the_queue_knows_no_more_has_ended() {
    alone(|| {
        let notice = ExitNotice::KernelQueue(|| refusing(libc::ESRCH));
        let mut child = spawn(notice).unwrap().child;
        assert!(matches!(child.watch(), Watch::Descriptor(_)));
        assert_eq!(child.try_wait().unwrap(), Some(Ended::Exited(3)));
    });
}

/// What is chosen in a thread where `call` fails with `errno`.
fn choice_without(call: libc::c_long, errno: i32) -> ExitNotice {
    let thread = thread::spawn(move || {
        refuse(&[call], errno);
        ExitNotice::choose().unwrap()
    });
    thread.join().unwrap()
}

#[test]
fn where_pidfds_are_refused_the_signal_tells() {
    alone(|| {
        assert!(matches!(ExitNotice::choose().unwrap(), ExitNotice::Pidfd));
        for errno in [libc::ENOSYS, libc::EPERM] {
            let chosen = choice_without(libc::SYS_pidfd_open, errno);
            assert!(matches!(chosen, ExitNotice::ChildSignal), "{errno}");
        }
        // Linux 5.3 has pidfds, and cannot wait for them.
        let chosen = choice_without(libc::SYS_waitid, libc::EINVAL);
        assert!(matches!(chosen, ExitNotice::ChildSignal));
    });
}

#[test]
fn a_full_table_is_no_reason_to_choose_another_way() {
    alone(|| {
        let limit = Limit::lower_to(0);
        let error = ExitNotice::choose().unwrap_err();
        drop(limit);
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    });
}
