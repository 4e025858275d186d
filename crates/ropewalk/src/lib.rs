//! The ropewalk reactor.
