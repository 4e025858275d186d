//! Which poller a loop gets that asks for none.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use super::{PollerKind, UnknownPoller};
use crate::Events;

/// The environment variable that names the poller to use; see [`PollerKind::choose`].
pub const POLLER_VARIABLE: &str = "ROPEWALK_POLLER";

impl PollerKind {
    /// The poller to use where the program does not say: the one that [`POLLER_VARIABLE`] names;
    /// without it the first of [`available`](Self::available) that the system grants.
    ///
    /// Each is tried by making one and waiting in it for no time. A container's filter of system
    /// calls, or an old or foreign kernel, may refuse what the platform is known for (`ENOSYS`,
    /// `EPERM`, `EACCES`, `EINVAL`): the next is tried then. The one that the variable names is
    /// tried too, and has no successor.
    ///
    /// # Errors
    ///
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput), with an [`UnknownPoller`] inside: the
    ///   variable names none of the pollers here.
    /// - The system refuses the one that the variable names, or all.
    /// - What is wrong at the moment and would be wrong with the next one too, or better soon, is
    ///   returned as it is: `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn choose() -> io::Result<Self> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        match Self::from_environment().map_err(invalid)? {
            Some(named) => granted_as_named(named, probe(named)),
            None => first_granted(Self::available(), probe),
        }
    }

    /// The poller that [`POLLER_VARIABLE`] names; nothing if it is unset or empty. Whether the
    /// system grants it is not tried.
    ///
    /// # Errors
    ///
    /// [`UnknownPoller`]: the variable names no poller of this platform.
    pub fn from_environment() -> Result<Option<Self>, UnknownPoller> {
        from_value(env::var_os(POLLER_VARIABLE).as_deref())
    }
}

/// What `value` of the variable means.
fn from_value(value: Option<&OsStr>) -> Result<Option<PollerKind>, UnknownPoller> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let mut kinds = PollerKind::available().iter().copied();
    match kinds.find(|kind| value == kind.name()) {
        Some(kind) => Ok(Some(kind)),
        None => Err(UnknownPoller {
            name: value.to_string_lossy().into_owned(),
            variable: Some(POLLER_VARIABLE),
        }),
    }
}

/// The first of `kinds` that is granted. The error is the last one's, as it is.
fn first_granted(
    kinds: &[PollerKind],
    mut probe: impl FnMut(PollerKind) -> io::Result<()>,
) -> io::Result<PollerKind> {
    let mut refusal = io::Error::from(io::ErrorKind::Unsupported);
    for kind in kinds {
        match probe(*kind) {
            Ok(()) => return Ok(*kind),
            Err(error) if is_refusal(&error) => refusal = error,
            Err(error) => return Err(error),
        }
    }
    Err(refusal)
}

/// `named`, unless the system refuses it. The error then says where the name came from.
fn granted_as_named(named: PollerKind, outcome: io::Result<()>) -> io::Result<PollerKind> {
    match outcome {
        Ok(()) => Ok(named),
        Err(error) if is_refusal(&error) => Err(io::Error::new(
            error.kind(),
            format!("the system refuses {POLLER_VARIABLE}={named}: {error}"),
        )),
        Err(error) => Err(error),
    }
}

/// Makes a poller of `kind` and waits in it for no time: some filters let the first pass.
fn probe(kind: PollerKind) -> io::Result<()> {
    let mut poller = kind.new_poller()?;
    poller.wait(&mut Events::new(), Some(Duration::ZERO))
}

/// Whether an error says that this system does not grant the call at all.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES | libc::EINVAL)
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn the_variable_names_a_poller_of_this_platform() {
        for kind in PollerKind::available() {
            assert_eq!(from_value(Some(kind.name().as_ref())), Ok(Some(*kind)));
        }
        assert_eq!(from_value(None), Ok(None));
        assert_eq!(from_value(Some(OsStr::new(""))), Ok(None));
    }

    #[test]
    fn any_other_value_is_refused_with_a_list_of_the_valid_ones() {
        let foreign = [PollerKind::Epoll, PollerKind::KQueue]
            .into_iter()
            .find(|kind| !PollerKind::available().contains(kind));
        let foreign = foreign.map_or("", PollerKind::name);
        for value in ["devpoll", "Poll", " poll", foreign] {
            let text = from_value(Some(value.as_ref())).unwrap_err().to_string();
            assert!(
                text.contains(&format!("{POLLER_VARIABLE}={value:?}")),
                "{text}"
            );
            for kind in PollerKind::available() {
                assert!(text.contains(kind.name()), "{text}");
            }
        }
        let no_text = OsStr::from_bytes(b"\xff");
        assert!(from_value(Some(no_text)).is_err());
    }

    const ALL: [PollerKind; 3] = [PollerKind::Epoll, PollerKind::Poll, PollerKind::Select];

    #[test]
    fn the_first_that_is_granted_is_chosen() {
        for refusal in [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::EINVAL] {
            for granted in ALL {
                let chosen = first_granted(&ALL, |kind| match kind == granted {
                    true => Ok(()),
                    false => Err(io::Error::from_raw_os_error(refusal)),
                });
                assert_eq!(chosen.unwrap(), granted);
            }
        }
    }

    #[test]
    fn what_is_wrong_at_the_moment_is_returned() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
            let mut probed = 0;
            let error = first_granted(&ALL, |_| {
                probed += 1;
                Err(io::Error::from_raw_os_error(errno))
            });
            assert_eq!(error.unwrap_err().raw_os_error(), Some(errno));
            assert_eq!(probed, 1);
            let outcome = Err(io::Error::from_raw_os_error(errno));
            let error = granted_as_named(PollerKind::Poll, outcome).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno));
        }
    }

    #[test]
    fn when_all_are_refused_the_last_refusal_is_told() {
        let error = first_granted(&ALL, |kind| {
            let select = kind == PollerKind::Select;
            let errno = if select { libc::EACCES } else { libc::ENOSYS };
            Err(io::Error::from_raw_os_error(errno))
        });
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EACCES));
    }

    #[test]
    fn a_refusal_of_the_named_one_says_who_named_it() {
        let outcome = Err(io::Error::from_raw_os_error(libc::EPERM));
        let error = granted_as_named(PollerKind::Poll, outcome).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let text = error.to_string();
        assert!(text.contains(&format!("{POLLER_VARIABLE}=poll")), "{text}");
    }
}
