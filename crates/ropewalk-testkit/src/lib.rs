//! Fixtures of ropewalk's tests: pollers to run a case over, connected pairs, a clock that moves
//! by hand, a guard against leaked descriptors, repeatable numbers. Not published.

mod clock;
mod descriptors;
mod pairs;
mod random;

pub use clock::ManualClock;
pub use descriptors::{DescriptorCount, assert_no_children};
pub use pairs::{socket_pair, tcp_pair, tcp_pair_v6};
pub use random::Random;

use ropewalk_os::PollerKind;

/// The pollers a test runs over: all this platform has.
pub fn poller_kinds() -> &'static [PollerKind] {
    PollerKind::available()
}
