//! Whose the child is.

use rustix::process::Gid;

use super::error::{Failure, Step};

/// User, group and groups of a child; `None` leaves what the parent has.
#[derive(Clone, Debug, Default)]
pub(super) struct Credentials {
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) groups: Option<Vec<Gid>>,
    /// The effective user of a process that is privileged by its real user only. The child takes
    /// that up first, and is this one again unless it gets another.
    laid_aside: Option<u32>,
}

impl Credentials {
    /// Completes them. The child of a privileged process with another user is not to keep the
    /// groups of the privileged one: it has none unless they are given.
    pub(super) fn resolved(mut self) -> Self {
        if self.change_nothing() {
            return self;
        }
        // SAFETY: the calls take and touch nothing.
        let (real, effective) = unsafe { (libc::getuid(), libc::geteuid()) };
        self.laid_aside = (real == 0 && effective != 0).then_some(effective);
        let privileged = real == 0 || effective == 0;
        if privileged && self.user.is_some() && self.groups.is_none() {
            self.groups = Some(Vec::new());
        }
        self
    }

    pub(super) const fn change_nothing(&self) -> bool {
        self.user.is_none() && self.group.is_none() && self.groups.is_none()
    }

    /// In the child; async-signal-safe. The user last, who may not change the rest.
    pub(super) fn set(&self) -> Result<(), Failure> {
        let at = |step| move |errno| Failure { step, errno };
        if self.laid_aside.is_some() {
            system::set_user(0).map_err(at(Step::User))?;
        }
        if let Some(groups) = &self.groups {
            system::set_groups(groups).map_err(at(Step::Groups))?;
        }
        if let Some(group) = self.group {
            system::set_group(group).map_err(at(Step::Group))?;
        }
        let set = match (self.user, self.laid_aside) {
            (Some(user), _) => system::set_user(user),
            (None, Some(effective)) => system::lay_aside(effective),
            (None, None) => Ok(()),
        };
        set.map_err(at(Step::User))
    }
}

/// The calls themselves: the C library's tell every thread of the process to make them as well, by
/// lists and locks that the child has as its parent left them.
#[cfg(target_os = "linux")]
mod system {
    use rustix::io::Errno;
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_res_uid, set_thread_uid};

    pub(super) fn set_user(user: u32) -> Result<(), i32> {
        set_thread_uid(Uid::from_raw_unchecked(user)).map_err(Errno::raw_os_error)
    }

    /// Leaves the privilege to the real user.
    pub(super) fn lay_aside(effective: u32) -> Result<(), i32> {
        let effective = Uid::from_raw_unchecked(effective);
        set_thread_res_uid(Uid::ROOT, effective, Uid::ROOT).map_err(Errno::raw_os_error)
    }

    pub(super) fn set_group(group: u32) -> Result<(), i32> {
        set_thread_gid(Gid::from_raw_unchecked(group)).map_err(Errno::raw_os_error)
    }

    pub(super) fn set_groups(groups: &[Gid]) -> Result<(), i32> {
        set_thread_groups(groups).map_err(Errno::raw_os_error)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use rustix::process::Gid;

    use super::super::between::check;

    pub(super) fn set_user(user: u32) -> Result<(), i32> {
        // SAFETY: the call takes a number.
        check(unsafe { libc::setuid(user) })
    }

    /// Leaves the privilege to the real user.
    pub(super) fn lay_aside(effective: u32) -> Result<(), i32> {
        // SAFETY: the call takes a number.
        check(unsafe { libc::seteuid(effective) })
    }

    pub(super) fn set_group(group: u32) -> Result<(), i32> {
        // SAFETY: the call takes a number.
        check(unsafe { libc::setgid(group) })
    }

    pub(super) fn set_groups(groups: &[Gid]) -> Result<(), i32> {
        // SAFETY: the call reads as many numbers as it is told, and a `Gid` is one.
        check(unsafe { libc::setgroups(groups.len() as _, groups.as_ptr().cast()) })
    }
}
