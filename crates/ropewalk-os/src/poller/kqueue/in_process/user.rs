//! `EVFILT_USER`.

use std::collections::BTreeMap;

use super::super::{Filter, KernelEvent, note};
use super::knote::{Knote, changed};

/// The registrations that changes trigger, by the program's own numbers.
#[derive(Default)]
pub(super) struct Users(BTreeMap<usize, User>);

struct User {
    knote: Knote,
    triggered: bool,
}

impl Users {
    pub(super) fn change(&mut self, change: &KernelEvent) -> Result<(), i32> {
        let before = self.0.remove(&change.ident);
        let knote = before.as_ref().map(|user| user.knote);
        let after = match changed(knote, change) {
            Ok(None) => return Ok(()),
            Ok(Some(knote)) => knote,
            Err(errno) => return Err(errno),
        };
        let mut user = User {
            knote: after,
            triggered: before.is_some_and(|user| user.triggered),
        };
        user.triggered |= change.fflags & note::TRIGGER != 0;
        user.knote.fflags = match knote {
            Some(knote) => combined(knote.fflags, change.fflags),
            None => change.fflags & note::FF_FLAGS_MASK,
        };
        self.0.insert(change.ident, user);
        Ok(())
    }

    /// The event of a registration that was triggered.
    pub(super) fn event(&self, ident: usize) -> Option<KernelEvent> {
        let user = self.0.get(&ident)?;
        (user.triggered && user.knote.enabled).then_some(KernelEvent {
            ident,
            filter: Filter::User,
            flags: user.knote.sticky(),
            fflags: user.knote.fflags,
            data: user.knote.data,
            udata: user.knote.udata,
        })
    }

    /// Its event was taken.
    pub(super) fn delivered(&mut self, ident: usize) {
        let Some(user) = self.0.get_mut(&ident) else {
            return;
        };
        match user.knote.delivered() {
            None => drop(self.0.remove(&ident)),
            Some(knote) => {
                user.knote = knote;
                if knote.is_clear() {
                    user.triggered = false;
                    user.knote.fflags = 0;
                }
            }
        }
    }
}

/// The flags that a change makes of those before.
const fn combined(flags: u32, change: u32) -> u32 {
    let news = change & note::FF_FLAGS_MASK;
    match change & note::FF_CONTROL_MASK {
        note::FF_AND => flags & news,
        note::FF_OR => flags | news,
        note::FF_COPY => news,
        _ => flags,
    }
}
