//! Child processes in terminals of their own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[macro_use]
mod variant;
mod process_support;

use process_support::{finish, over_every_poller, shell, spawn, until};
use ropewalk::process::{ChildFd, Command, Ended, WindowSize};
use ropewalk::{Reactor, Signal};

over_every_poller!(
    a_child_in_a_terminal_has_one,
    the_window_has_its_size_and_a_change_is_noticed,
    what_is_typed_is_echoed_and_read,
    control_c_interrupts,
    end_of_input_is_a_character,
    closing_the_terminal_hangs_up,
    all_that_was_written_is_read_before_the_end,
    the_end_waits_for_everybody_in_the_terminal,
    a_terminal_and_pipes_beside_it,
    a_paused_terminal_waits,
    a_child_without_terminal_has_no_window,
);

const SIZE: WindowSize = WindowSize {
    rows: 31,
    columns: 97,
    x_pixels: 0,
    y_pixels: 0,
};

/// A command of the shell in a terminal.
fn typed(script: &str) -> Command<'static> {
    shell(script).terminal(SIZE)
}

fn a_child_in_a_terminal_has_one(reactor: &Reactor) {
    let script = "tty; test -t 0 && test -t 1 && test -t 2 && exec 0<&- && echo controls >/dev/tty";
    let heard = finish(reactor, &typed(script));
    assert_eq!(heard.ended.get(), Some(Ended::Exited(0)));
    let text = heard.text(1);
    assert!(
        text.starts_with("/dev/pts/") && text.ends_with("\r\ncontrols\r\n"),
        "{text:?}"
    );
    let mut events = heard.take();
    assert_eq!(events.pop().unwrap(), "ended");
    events.sort();
    // Its end may come between two pieces of data.
    events.dedup();
    assert_eq!(events, ["closed 1", "data 1", "exited", "made"]);
}

fn the_window_has_its_size_and_a_change_is_noticed(reactor: &Reactor) {
    let script = "trap 'stty size; exit 0' WINCH; stty size; while :; do sleep 0.01; done";
    let heard = spawn(reactor, &typed(script));
    assert_eq!(heard.process().window_size().unwrap(), SIZE);
    until(reactor, "the size", || heard.text(1).contains("31 97\r\n"));
    let larger = WindowSize { rows: 50, ..SIZE };
    heard.process().set_window_size(larger).unwrap();
    assert_eq!(heard.process().window_size().unwrap(), larger);
    assert!(heard.wait(reactor).is_success());
    assert_eq!(heard.text(1), "31 97\r\n50 97\r\n");
}

fn what_is_typed_is_echoed_and_read(reactor: &Reactor) {
    let heard = spawn(reactor, &typed("read line; echo \"<$line>\""));
    heard.process().write(0, b"rope\n");
    assert!(heard.wait(reactor).is_success());
    assert_eq!(heard.text(1), "rope\r\n<rope>\r\n");
}

fn control_c_interrupts(reactor: &Reactor) {
    let heard = spawn(reactor, &typed("echo ready; exec cat"));
    until(reactor, "the child", || heard.text(1).contains("ready"));
    heard.process().write(1, b"\x03");
    let ended = heard.wait(reactor);
    assert!(matches!(ended, Ended::Killed { signal, .. } if signal == Signal::INT.number()));
}

fn end_of_input_is_a_character(reactor: &Reactor) {
    let heard = spawn(reactor, &typed("stty -echo; echo ready; cat; echo end"));
    until(reactor, "the child", || heard.text(1).contains("ready"));
    heard.process().write(0, b"rope\n\x04");
    assert!(heard.wait(reactor).is_success());
    assert_eq!(heard.text(1), "ready\r\nrope\r\nend\r\n");
}

fn closing_the_terminal_hangs_up(reactor: &Reactor) {
    let heard = spawn(reactor, &typed("echo ready; exec cat"));
    until(reactor, "the child", || heard.text(1).contains("ready"));
    heard.process().lose_connection();
    let ended = heard.wait(reactor);
    assert!(matches!(ended, Ended::Killed { signal, .. } if signal == Signal::HUP.number()));
    assert!(heard.process().window_size().is_err());
}

fn all_that_was_written_is_read_before_the_end(reactor: &Reactor) {
    let heard = finish(
        reactor,
        &typed("i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done"),
    );
    let expected: String = (0..2000).map(|i| format!("line {i}\r\n")).collect();
    assert!(heard.text(1) == expected);
}

fn the_end_waits_for_everybody_in_the_terminal(reactor: &Reactor) {
    // The grandchild holds the terminal, and is no longer in its session's foreground.
    let script = "trap '' HUP; ( read line <&3; echo $line ) & exit 4";
    let heard = spawn(reactor, &typed(script).fd(3, ChildFd::Reads));
    until(reactor, "the exit", || heard.exit.get().is_some());
    // The leader of the session is gone; who stays behind has the terminal open.
    heard.process().close(3);
    assert_eq!(heard.wait(reactor), Ended::Exited(4));
}

fn a_terminal_and_pipes_beside_it(reactor: &Reactor) {
    let command = typed("echo terminal; cat <&3 >&4").fd(3, ChildFd::Reads);
    let heard = spawn(reactor, &command.fd(4, ChildFd::Writes));
    heard.process().write(3, b"pipe");
    heard.process().close(3);
    assert!(heard.wait(reactor).is_success());
    assert_eq!(
        (heard.text(1), heard.text(4)),
        ("terminal\r\n".into(), "pipe".into())
    );
}

fn a_paused_terminal_waits(reactor: &Reactor) {
    let heard = spawn(reactor, &typed("echo rope").fd(3, ChildFd::Writes));
    heard.process().pause(1);
    until(reactor, "the exit", || {
        heard.exit.get().is_some() && heard.has("closed 3")
    });
    assert!(!heard.has("data 1") && heard.ended.get().is_none());
    // Nobody reads this any more.
    heard.process().write(0, &[b'x'; 100]);
    for _ in 0..5 {
        reactor.turn(std::time::Duration::ZERO).unwrap();
    }
    heard.process().resume_producing();
    assert!(heard.wait(reactor).is_success());
    assert!(heard.text(1).starts_with("rope\r\n"), "{:?}", heard.text(1));
}

fn a_child_without_terminal_has_no_window(reactor: &Reactor) {
    let heard = spawn(reactor, &Command::new("cat"));
    let error = heard.process().window_size().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    heard.process().close(0);
    heard.wait(reactor);
}
