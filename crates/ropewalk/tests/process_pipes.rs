//! Child processes by their pipes: what they say, what they are told, and what is closed when.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod process_support;

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::rc::Rc;

use process_support::{Heard, finish, over_every_poller, shell, spawn, until};
use ropewalk::process::{ChildFd, Command, Ended, Process, ProcessProtocol};
use ropewalk::{Reactor, Signal};

over_every_poller!(
    output_and_errors_are_told_apart,
    input_reaches_the_child_whole,
    callbacks_come_in_their_order,
    a_child_that_closes_one_descriptor_keeps_the_others,
    an_idle_input_that_the_child_closes_is_noticed,
    exited_does_not_wait_for_grandchildren_that_keep_pipes,
    any_descriptor_is_a_pipe_either_way,
    descriptors_are_permuted_and_others_are_closed,
    a_file_is_inherited,
    a_child_without_pipes_ends,
    close_sends_what_is_queued_before,
    closing_an_output_breaks_it,
    lose_connection_closes_every_pipe,
    what_no_pipe_is_does_nothing,
    a_nested_turn_overlaps_no_callbacks,
    a_panic_costs_the_pipes_and_not_the_loop,
    megabytes_go_through_sort,
);

fn output_and_errors_are_told_apart(reactor: &Reactor) {
    let heard = finish(reactor, &shell("echo rope; echo hemp >&2; exit 3"));
    assert_eq!(
        (heard.text(1), heard.text(2)),
        ("rope\n".into(), "hemp\n".into())
    );
    assert_eq!(heard.ended.get(), Some(Ended::Exited(3)));
}

fn input_reaches_the_child_whole(reactor: &Reactor) {
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    let heard = spawn(reactor, &Command::new("cat"));
    heard.process().write_bytes(0, sent.clone());
    heard.process().close(0);
    assert!(heard.wait(reactor).is_success());
    assert!(heard.data(1) == sent, "byte by byte the same");
}

fn callbacks_come_in_their_order(reactor: &Reactor) {
    let heard = finish(reactor, &shell("echo rope").without_fd(2));
    let events = heard.take();
    assert_eq!(events.first().unwrap(), "made");
    assert_eq!(events.last().unwrap(), "ended");
    let mut middle = events[1..events.len() - 1].to_vec();
    let data = middle.iter().position(|event| event == "data 1");
    let closed = middle.iter().position(|event| event == "closed 1");
    assert!(data < closed, "{middle:?}");
    middle.sort();
    middle.dedup();
    assert_eq!(middle, ["closed 0", "closed 1", "data 1", "exited"]);
}

fn a_child_that_closes_one_descriptor_keeps_the_others(reactor: &Reactor) {
    let heard = spawn(reactor, &shell("exec 2>&-; read line; echo $line"));
    until(reactor, "the end of 2", || heard.has("closed 2"));
    assert_eq!(heard.take(), ["made", "closed 2"]);
    heard.process().write(0, b"rope\n");
    assert!(heard.wait(reactor).is_success());
    assert_eq!(heard.text(1), "rope\n");
}

fn an_idle_input_that_the_child_closes_is_noticed(reactor: &Reactor) {
    let heard = spawn(
        reactor,
        &shell("exec 0<&-; read line <&3").fd(3, ChildFd::Reads),
    );
    until(reactor, "the end of 0", || heard.has("closed 0"));
    assert_eq!(heard.take(), ["made", "closed 0"]);
    assert!(heard.process().is_running());
    heard.process().write(0, b"nobody reads this");
    heard.process().close(3);
    assert_eq!(heard.wait(reactor), Ended::Exited(1));
}

fn exited_does_not_wait_for_grandchildren_that_keep_pipes(reactor: &Reactor) {
    // The grandchild reads from 3, which is the child's only by inheritance.
    let script = "( read line <&3; echo $line ) & exit 7";
    let heard = spawn(reactor, &shell(script).fd(3, ChildFd::Reads).without_fd(2));
    until(reactor, "the exit", || heard.exit.get().is_some());
    assert_eq!(heard.exit.get(), Some(Ended::Exited(7)));
    assert!(!heard.has("closed 1") && heard.ended.get().is_none());
    heard.process().write(3, b"from the grandchild\n");
    assert_eq!(heard.wait(reactor), Ended::Exited(7));
    assert_eq!(heard.text(1), "from the grandchild\n");
}

fn any_descriptor_is_a_pipe_either_way(reactor: &Reactor) {
    let command = Command::new("/bin/bash").args(["-c", "cat <&7 >&9; echo done >&63"]);
    let command = command.fd(7, ChildFd::Reads).fd(9, ChildFd::Writes);
    let heard = spawn(reactor, &command.fd(63, ChildFd::Writes));
    heard.process().write(7, b"seven to nine");
    heard.process().close(7);
    assert!(heard.wait(reactor).is_success());
    assert_eq!(
        (heard.text(9), heard.text(63)),
        ("seven to nine".into(), "done\n".into())
    );
}

fn descriptors_are_permuted_and_others_are_closed(reactor: &Reactor) {
    let (mut first, mut second) = (scratch("first"), scratch("second"));
    // Each under the other's number, whatever those are here.
    let (low, high) = (
        std::os::fd::AsRawFd::as_raw_fd(&first),
        std::os::fd::AsRawFd::as_raw_fd(&second),
    );
    let script = format!("cat <&{low}; cat <&{high}; ls /proc/self/fd | tr '\\n' ' '");
    let command = Command::new("/bin/bash").args(["-c", &script]);
    let command = command
        .fd(low, ChildFd::Inherits(second.as_fd()))
        .fd(high, ChildFd::Inherits(first.as_fd()));
    let heard = finish(reactor, &command);
    let mut expected = vec![0, 1, 2, low, high];
    expected.sort_unstable();
    let text = heard.text(1);
    let listed = text.strip_prefix("secondfirst").expect(&text);
    let mut listed: Vec<i32> = listed
        .split_whitespace()
        .map(|fd| fd.parse().unwrap())
        .collect();
    // The directory that ls reads.
    listed.retain(|fd| expected.contains(fd) || *fd != 3);
    listed.sort_unstable();
    assert_eq!(listed, expected);
    first.rewind().unwrap();
    second.rewind().unwrap();
}

fn a_file_is_inherited(reactor: &Reactor) {
    let mut file = scratch("");
    let heard = finish(
        reactor,
        &shell("echo rope").fd(1, ChildFd::Inherits(file.as_fd())),
    );
    assert!(!heard.has("closed 1"));
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "rope\n");
}

fn a_child_without_pipes_ends(reactor: &Reactor) {
    let command = Command::new("true")
        .without_fd(0)
        .without_fd(1)
        .without_fd(2);
    let heard = finish(reactor, &command);
    assert_eq!(heard.take(), ["made", "exited", "ended"]);
}

fn close_sends_what_is_queued_before(reactor: &Reactor) {
    let heard = spawn(reactor, &shell("sleep 0.1; wc -c"));
    let process = heard.process();
    process.write_bytes(0, vec![0; 300_000]);
    process.close(0);
    process.write(0, b"and more");
    assert_eq!(process.buffered_len(0), 300_008);
    assert!(heard.wait(reactor).is_success());
    assert_eq!(heard.text(1).trim(), "300008");
}

fn closing_an_output_breaks_it(reactor: &Reactor) {
    let heard = spawn(reactor, &shell("read line; echo rope; echo $? >&2"));
    heard.process().close(1);
    assert!(!heard.has("closed 1"), "not inside the call");
    until(reactor, "the end of 1", || heard.has("closed 1"));
    heard.process().write(0, b"go on\n");
    // The shell dies of SIGPIPE, whatever this process does with that signal.
    assert!(matches!(heard.wait(reactor), Ended::Killed { signal, .. }
        if signal == Signal::PIPE.number()));
}

fn lose_connection_closes_every_pipe(reactor: &Reactor) {
    let heard = spawn(reactor, &Command::new("cat"));
    heard.process().lose_connection();
    assert!(heard.wait(reactor).is_success());
    let mut events = heard.take();
    assert_eq!(events.pop().unwrap(), "ended");
    events.sort();
    assert_eq!(
        events,
        ["closed 0", "closed 1", "closed 2", "exited", "made"]
    );
}

fn what_no_pipe_is_does_nothing(reactor: &Reactor) {
    let heard = spawn(reactor, &Command::new("cat"));
    let process = heard.process();
    process.write(1, b"an output");
    process.write(99, b"nothing");
    process.close(99);
    process.pause(0);
    process.pause(99);
    process.unregister_producer(99);
    assert_eq!(process.buffered_len(1), 0);
    process.write(0, b"rope");
    process.close(0);
    process.close(0);
    assert!(heard.wait(reactor).is_success());
    assert_eq!(heard.text(1), "rope");
    process.write(0, b"too late");
    process.lose_connection();
}

/// Runs nested turns in each callback, until the child's death is known.
struct Nested {
    reactor: Reactor,
    heard: Rc<Heard>,
    depth: Cell<usize>,
}

impl Nested {
    fn nest(&self, process: &Process) {
        assert_eq!(self.depth.replace(1), 0, "callbacks overlap");
        until(&self.reactor, "the death", || process.exit().is_some());
        for _ in 0..5 {
            self.reactor.turn(std::time::Duration::ZERO).unwrap();
        }
        self.depth.set(0);
    }
}

impl ProcessProtocol for Nested {
    fn data_received(&mut self, process: &Process, fd: i32, data: &[u8]) {
        let mut all = self.heard.data.borrow_mut();
        all.entry(fd).or_default().extend_from_slice(data);
        drop(all);
        self.nest(process);
    }

    fn descriptor_closed(&mut self, process: &Process, _: i32) {
        self.nest(process);
    }

    fn exited(&mut self, process: &Process, _: Ended) {
        self.nest(process);
    }

    fn ended(&mut self, ended: Ended) {
        self.heard.ended.set(Some(ended));
    }
}

fn a_nested_turn_overlaps_no_callbacks(reactor: &Reactor) {
    let heard = Rc::<Heard>::default();
    let nested = Nested {
        reactor: reactor.clone(),
        heard: Rc::clone(&heard),
        depth: Cell::new(0),
    };
    reactor
        .spawn_process(&shell("echo rope; echo hemp >&2"), nested)
        .unwrap();
    assert!(heard.wait(reactor).is_success());
    assert_eq!(
        (heard.text(1), heard.text(2)),
        ("rope\n".into(), "hemp\n".into())
    );
}

/// Panics when told to, and counts what it hears.
struct Panicking {
    heard: Rc<Heard>,
    when: &'static str,
}

impl Panicking {
    fn hear(&self, what: &'static str) {
        self.heard.events.borrow_mut().push(what.to_owned());
        assert_ne!(self.when, what, "as wanted");
    }
}

impl ProcessProtocol for Panicking {
    fn connection_made(&mut self, _: &Process) {
        self.hear("made");
    }

    fn data_received(&mut self, _: &Process, _: i32, _: &[u8]) {
        self.hear("data");
    }

    fn descriptor_closed(&mut self, _: &Process, _: i32) {
        self.hear("closed");
    }

    fn exited(&mut self, _: &Process, _: Ended) {
        self.hear("exited");
    }

    fn ended(&mut self, ended: Ended) {
        self.heard.ended.set(Some(ended));
        self.hear("ended");
    }
}

fn a_panic_costs_the_pipes_and_not_the_loop(reactor: &Reactor) {
    let failures = Rc::new(Cell::new(0));
    let count = Rc::clone(&failures);
    reactor.on_failure(move |_| count.set(count.get() + 1));
    for when in ["made", "data", "closed", "exited", "ended"] {
        let heard = Rc::<Heard>::default();
        let protocol = Panicking {
            heard: Rc::clone(&heard),
            when,
        };
        failures.set(0);
        let process = reactor
            .spawn_process(&shell("echo rope; read line"), protocol)
            .unwrap();
        if !matches!(when, "made" | "data") {
            process.close(0);
        }
        heard.wait(reactor);
        assert_eq!(
            failures.get(),
            if when == "closed" { 3 } else { 1 },
            "{when}"
        );
        let events = heard.take();
        let closed = events.iter().filter(|event| *event == "closed").count();
        assert_eq!(
            (closed, events.last().unwrap().as_str()),
            (3, "ended"),
            "{when}"
        );
        assert!(events.contains(&"exited".to_owned()));
    }
}

fn megabytes_go_through_sort(reactor: &Reactor) {
    const LINES: usize = 4 * 1024 * 1024 / 8;
    let line = |number: usize| format!("{number:07}\n").into_bytes();
    let backwards: Vec<u8> = (0..LINES).rev().flat_map(line).collect();
    let heard = spawn(reactor, &Command::new("sort").env("LC_ALL", "C"));
    heard.process().write_bytes(0, backwards);
    heard.process().close(0);
    assert!(heard.wait(reactor).is_success());
    let forwards: Vec<u8> = (0..LINES).flat_map(line).collect();
    assert!(heard.data(1) == forwards, "sorted");
}

fn scratch(content: &str) -> File {
    let path = std::env::temp_dir().join(format!("ropewalk-{}", std::process::id()));
    let mut options = File::options();
    let options = options.read(true).write(true).create(true).truncate(true);
    let mut file = options.open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    std::io::Write::write_all(&mut file, content.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}
