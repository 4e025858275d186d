//! The state machines of ropewalk, without I/O.
//!
//! - [`WriteQueue`]: what a stream has still to send, with flow control.
//! - [`StreamState`]: the life of one stream, from open through half-closed to closed.
//! - `tls` (with the feature of that name): TLS sessions.
//!
//! Nothing here knows a descriptor, the operating system, a clock or a thread. Both faces of
//! ropewalk (and their tests) drive these machines with events and carry out what they answer.
#![forbid(unsafe_code)]

pub mod stream_state;
#[cfg(feature = "tls")]
pub mod tls;
pub mod write_queue;

pub use stream_state::{Action, CloseReason, ProducerState, StreamState};
pub use write_queue::{Flow, WriteQueue};
