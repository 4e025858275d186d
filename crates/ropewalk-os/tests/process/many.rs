//! Many children, and others that wait.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ropewalk_os::process::{ChildFd, Ended, Reaper};

use crate::Fixture;
use crate::fixture::Way;

pub(crate) fn nothing_is_left_of_many(fixture: &Fixture) {
    for number in 0..500 {
        let mut spawn = match number % 5 {
            0 => fixture.spawn_of("/nowhere"),
            1 => fixture.spawn_of("/etc/passwd"),
            _ => fixture.spawn_of("/bin/true"),
        };
        spawn
            .descriptor(0, ChildFd::Reads)
            .descriptor(1, ChildFd::Writes);
        if number % 7 == 0 {
            spawn.directory("/nowhere");
        }
        match spawn.spawn() {
            Ok(mut spawned) => assert_eq!(fixture.finish(&mut spawned.child), Ended::Exited(0)),
            Err(_) => assert!(number % 7 == 0 || number % 5 < 2),
        }
    }
    // The descriptors and the children are counted by the fixture.
}

/// A hundred children at once, with a second library that makes and waits for its own.
pub(crate) fn others_that_wait_are_not_disturbed(fixture: &Fixture) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::SeqCst) || count < 20 {
                let mut command = Command::new("/bin/sh");
                let command = command.args(["-c", "exit 9"]).stdin(Stdio::null());
                assert_eq!(command.status().unwrap().code(), Some(9));
                count += 1;
            }
        });
        for round in 0..4 {
            let codes = (0..50).map(|number| (number * 5 + round) % 256);
            let codes: Vec<_> = codes.collect();
            let mut children = codes
                .iter()
                .map(|code| fixture.shell(format!("exit {code}")).spawn().unwrap().child);
            if fixture.way == Way::ChildSignal {
                let mut reaper = Reaper::new();
                children
                    .zip(&codes)
                    .for_each(|(child, code)| reaper.insert(child, *code));
                assert_eq!(reaper.len(), codes.len());
                assert!(reaper.find(|code| *code == codes[7]).is_some());
                assert!(reaper.find(|code| *code == 256).is_none());
                loop {
                    for (code, ended) in reaper.take_ended() {
                        assert_eq!(ended, Ended::Exited(code));
                    }
                    if reaper.is_empty() {
                        break;
                    }
                    fixture.wait_for_child_signal();
                }
            } else {
                let children: Vec<_> = children.by_ref().collect();
                for (mut child, code) in children.into_iter().zip(codes) {
                    assert_eq!(fixture.finish(&mut child), Ended::Exited(code));
                }
            }
        }
        over.store(true, Ordering::SeqCst);
        other.join().unwrap();
    });
}
