//! TLS sessions against each other and against rustls's own connections, in memory.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod handshake;
mod support;
