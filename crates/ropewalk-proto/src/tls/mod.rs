//! A TLS session without I/O: ciphertext in, plaintext out, and the other way round.
//!
//! [`Session`] knows no socket and calls nobody. Whoever drives it
//!
//! - reads behind what [`begin_read`](Session::begin_read) put into the buffer, has
//!   [`process`](Session::process) decrypt it in place, and delivers what it answers;
//! - has [`seal`](Session::seal) encrypt from its [`WriteQueue`](crate::WriteQueue), sends
//!   [`outgoing`](Session::outgoing) and reports [`advance`](Session::advance); there may be
//!   something to send after every other call too;
//! - tells a close by [`close`](Session::close), and asks [`end`](Session::end) what the end of the
//!   peer's stream means.
//!
//! # Memory
//!
//! A session keeps a partial record (at most [`MAX_RECORD`] bytes) and what is not yet sent, and
//! gives both back when they are empty. `seal` stops one record above its limit, and a peer cannot
//! make a session queue more than its handshake flight and a few alerts: rustls answers all waiting
//! key updates with one, and ends connections that renegotiate, warn, update keys or send empty
//! records without end. A handshake message is at most 64 KiB. What is left of an idle session is
//! rustls's connection of 6 to 7 KiB, 4 of which are its buffer for records: it has that from its
//! first read on, never smaller, and nothing gives it back. A small record, received or sent, costs
//! one allocation of rustls's and none of the session's.
//!
//! # The connection inside
//!
//! It is rustls's buffered connection, which is handed whole records only, one at a time, so that
//! it buffers nothing but split handshake messages. The unbuffered one can tell neither the server
//! name a client asked for nor exported keying material, and saves less than its name says: it
//! passes every record, in and out, through a `Vec` of its own as the buffered one does, and
//! encrypts only from contiguous plaintext.
//!
//! With debug assertions, rustls panics when a bad record follows its own close_notify; without, it
//! has an alert to send, which the session drops. The session catches that panic, and fails. Its
//! message is still printed, and a debug build with `panic = "abort"` still ends, unless it has
//! `[profile.dev.package.rustls] debug-assertions = false`.

mod error;
mod record;
mod session;

pub use error::{CertificateProblem, TlsError};
pub use record::MAX_RECORD;
pub use session::{Intake, Received, Session};
