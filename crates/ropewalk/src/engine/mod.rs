//! One turn of the event loop, without a lifecycle: sources, interest, readiness and flushing.
//!
//! The engine is what both faces of ropewalk share. It knows descriptors by [`Token`](crate::os::Token), calls its
//! embedder through [`Host`], and holds no borrow of its own tables while the embedder runs, so a
//! callback may add, remove or close any source (itself included) or run a nested
//! [`poll`](Engine::poll). [`Timers`] and [`ThreadCalls`] are parts of their own, put together into
//! a turn by the reactor above: thread calls, due timers, then [`Engine::poll`].
//!
//! It does not know protocols, clocks, lifecycles, Python or which poller it runs on.

mod hosting;
mod sources;
mod steps;
mod thread_calls;
mod timers;

pub use sources::{Engine, Host, PollerMaker};
pub use thread_calls::ThreadCalls;
pub use timers::{TimerId, Timers};
