//! Where children may be made.

use std::thread;

use ropewalk_os::process::{Ended, Spawn};

use crate::Fixture;

pub(crate) fn any_thread_may_spawn(fixture: &Fixture) {
    let notice = fixture.way.notice();
    let thread = thread::spawn(move || {
        let mut spawn = Spawn::new("sh", notice);
        spawn
            .arguments(["sh", "-c", "exit 6"])
            .spawn()
            .unwrap()
            .child
    });
    // The child is the process's, and no thread's.
    let mut child = thread.join().unwrap();
    assert_eq!(fixture.finish(&mut child), Ended::Exited(6));
}

pub(crate) fn threads_may_spawn_at_once(fixture: &Fixture) {
    let notice = fixture.way.notice();
    thread::scope(|scope| {
        for code in 0..8 {
            scope.spawn(move || {
                for _ in 0..10 {
                    let mut spawn = Spawn::new("/bin/sh", notice);
                    let script = format!("exit {code}");
                    let spawn = spawn.arguments(["sh", "-c", script.as_str()]);
                    let mut child = spawn.spawn().unwrap().child;
                    assert_eq!(child.wait().unwrap(), Ended::Exited(code));
                    assert!(Spawn::new("/nowhere", notice).spawn().is_err());
                }
            });
        }
    });
}
