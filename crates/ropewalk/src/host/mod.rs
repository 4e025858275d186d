//! A reactor inside somebody else's loop: one descriptor, one deadline, one call.
//!
//! # The contract
//!
//! A host loop, on the reactor's thread,
//!
//! 1. calls [`Reactor::start`] once, in place of [`Reactor::run`] (a host that wants no lifecycle
//!    leaves it out);
//! 2. calls [`Reactor::turn`] with [`Duration::ZERO`], which does what is due and never blocks;
//! 3. waits until [`Reactor::as_fd`] is readable or [`Reactor::next_deadline`] is over, whichever
//!    comes first, and asks for the deadline anew after each turn;
//! 4. goes on with 2 while [`State::keeps_looping`].
//!
//! The first [`Reactor::as_fd`] comes before step 2, for it is what tells the reactor that somebody
//! waits for it. Then:
//!
//! - The descriptor is readable as long as a turn has readiness to deliver or calls of other threads
//!   to make. It is level-triggered: a host that watches edges (tokio does) asks `poll(2)` before
//!   it believes that nothing is left.
//! - What the rest of the program asks of the reactor *between* turns, a write or a
//!   [`call_later`](crate::Reactor::call_later) from one of the host's own callbacks, makes it
//!   readable too. The host need not know.
//! - An idle reactor is never readable and has no deadline but those of its delayed calls: it costs
//!   its host no wake-up.
//! - One turn does a bounded amount of work. What is left is due at once
//!   ([`Reactor::next_deadline`] is now, or the descriptor still readable), and the host may do
//!   something else first.
//! - A timer of the host that counts milliseconds must round up. One that rounds down has the
//!   reactor turn in vain until the deadline is really over.
//!
//! `poll` and `select` have no descriptor that another loop could watch:
//! [`Capabilities::pollable`](crate::os::Capabilities) is false, and [`Reactor::as_fd`] fails with
//! [`Unsupported`](std::io::ErrorKind::Unsupported).
//!
//! # Examples
//!
//! ```
//! use std::time::{Duration, Instant};
//! use ropewalk::Reactor;
//! use rustix::event::{PollFd, PollFlags, Timespec, poll};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let reactor = Reactor::new()?;
//! reactor.call_later(Duration::from_millis(5), |reactor| reactor.stop().expect("running"));
//! let fd = reactor.as_fd()?;
//! reactor.start()?;
//! loop {
//!     reactor.turn(Duration::ZERO)?;
//!     if !reactor.state().keeps_looping() {
//!         break;
//!     }
//!     // The host's own descriptors and timers would be here, beside the reactor's.
//!     let mut watched = [PollFd::new(&fd, PollFlags::IN)];
//!     let wait = reactor
//!         .next_deadline()
//!         .map(|deadline| deadline.saturating_duration_since(Instant::now()))
//!         .map(Timespec::try_from)
//!         .transpose()?;
//!     match poll(&mut watched, wait.as_ref()) {
//!         Ok(_) | Err(rustix::io::Errno::INTR) => {}
//!         Err(error) => return Err(error.into()),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Duration::ZERO`]: std::time::Duration::ZERO
//! [`Reactor`]: crate::Reactor
//! [`Reactor::start`]: crate::Reactor::start
//! [`Reactor::run`]: crate::Reactor::run
//! [`Reactor::turn`]: crate::Reactor::turn
//! [`Reactor::as_fd`]: crate::Reactor::as_fd
//! [`Reactor::next_deadline`]: crate::Reactor::next_deadline
//! [`Reactor::call_later`]: crate::Reactor::call_later
//! [`State::keeps_looping`]: crate::State::keeps_looping

#[cfg(feature = "tokio")]
pub mod tokio;
