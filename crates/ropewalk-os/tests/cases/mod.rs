//! The cases of the conformance suite, by subject.

mod closed;
mod numbers;
mod readiness;
mod registration;
mod registry;
mod sockets;
mod time;
mod waking;

pub(crate) use closed::*;
pub(crate) use numbers::*;
pub(crate) use readiness::*;
pub(crate) use registration::*;
pub(crate) use registry::*;
pub(crate) use sockets::*;
pub(crate) use time::*;
pub(crate) use waking::*;
