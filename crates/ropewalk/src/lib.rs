//! The ropewalk reactor.
#![forbid(unsafe_code)]

pub mod engine;

pub use ropewalk_os as os;
pub use ropewalk_proto as proto;
