//! Descriptors with high numbers.

use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ropewalk_os::{Event, Interest, Readiness, Token};

use super::readable_pair;
use super::readiness::allow_descriptors;
use crate::fixture::{Fixture, at_number};

const LOW: Token = Token::new(1, 1);
const HIGH: Token = Token::new(2, 7);

/// C's `fd_set` has 1024 bits on most systems, 256 on some.
pub(crate) fn a_descriptor_of_any_number_is_watched_or_refused_by_its_limit(fixture: &mut Fixture) {
    allow_descriptors(1300);
    let (mut near, _far) = readable_pair();
    let readiness = Readiness::READABLE;
    fixture
        .watch(near.as_raw_fd(), LOW, Interest::READABLE)
        .unwrap();
    for number in [1023, 1024, 1025, 1100, 1279] {
        let high = at_number(&near, number);
        if let Err(error) = fixture.watch(number, HIGH, Interest::READABLE) {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let text = error.to_string();
            assert!(text.contains("FD_SETSIZE") && text.contains(&number.to_string()));
            continue;
        }
        let mut events = fixture.wait_for_some();
        events.sort_by_key(|event| event.token.slot());
        assert_eq!(events, [LOW, HIGH].map(|token| Event { token, readiness }));
        fixture.change(number, HIGH, Interest::WRITABLE).unwrap();
        let events = fixture.wait_for_some();
        let event = events.iter().find(|event| event.token == HIGH).unwrap();
        assert_eq!(event.readiness, Readiness::WRITABLE);
        fixture.poller.deregister(number).unwrap();
        drop(high);
        assert_eq!(
            fixture.wait_for_some(),
            [Event {
                token: LOW,
                readiness
            }]
        );
    }
    near.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(fixture.wait(Duration::ZERO), []);
}
