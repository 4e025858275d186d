//! TLS sessions against each other and against rustls's own connections, in memory.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is public")]

mod close;
mod handshake;
mod hostile;
mod keys;
mod stream;
mod support;
