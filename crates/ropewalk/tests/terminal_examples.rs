//! The example that relays terminals, used as people use it: in a pane of tmux, with programs that
//! fill the screen.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What has not come after this will not come any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a program between two looks at the modes of its terminal, and stays, so that the pane does.
const AROUND: &str = r#"
stty -g >before
sh -c 'echo $$ >pid; exec "$@"' sh "$@"
echo $? >status
stty -g >after
mv status done
exec cat
"#;

/// An editor without anybody's settings, whose last line but one tells its process and its size.
const EDITOR: [&str; 9] = [
    "vim",
    "--clean",
    "-N",
    "-n",
    "-i",
    "NONE",
    "--cmd",
    "set laststatus=2 statusline=%{getpid()}:%{&columns}x%{&lines}",
    "file",
];

/// A terminal of 80 columns and 24 lines in which the example relays a program, and the directory
/// that both run in.
struct Pane {
    directory: PathBuf,
}

impl Pane {
    fn open(poller: &str, program: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ropewalk-pane-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        let pane = Self { directory };
        let poller = format!("ROPEWALK_POLLER={poller}");
        let example = example("terminal_relay");
        let mut command = vec![
            "new-session",
            "-d",
            "-x",
            "80",
            "-y",
            "24",
            "--",
            "env",
            &poller,
        ];
        command.extend(["sh", "-c", AROUND, "sh", example.to_str().unwrap()]);
        command.extend(program);
        pane.tmux(&command);
        pane
    }

    fn try_tmux(&self, command: &[&str]) -> Output {
        Command::new("tmux")
            .args(["-S", "socket", "-f", "/dev/null"])
            .args(command)
            .current_dir(&self.directory)
            .env("LC_ALL", "C.UTF-8")
            // A session that the tests are run in is none of theirs.
            .env_remove("TMUX")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn tmux(&self, command: &[&str]) -> String {
        let output = self.try_tmux(command);
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{problem}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a text, then the key with this name.
    fn types(&self, text: &str, key: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
        self.tmux(&["send-keys", key]);
    }

    fn resize(&self, columns: &str, lines: &str) {
        self.tmux(&["resize-window", "-x", columns, "-y", lines]);
    }

    /// Waits until the screen has these lines, one after the other; the last of them may go on.
    fn shows(&self, lines: &str) {
        let lines = format!("\n{lines}");
        self.until(&lines, || {
            format!("\n{}", self.tmux(&["capture-pane", "-p"])).contains(&lines)
        });
    }

    /// Waits until the editor fills a screen of this size; answers the editor's process.
    fn shows_editor(&self, size: &str) -> String {
        let mut process = String::new();
        self.until(size, || {
            let screen = self.tmux(&["capture-pane", "-p"]);
            let mut words = screen.lines().filter_map(|line| line.split_once(':'));
            let found = words.find(|(_, rest)| *rest == size);
            found.map(|(pid, _)| pid.clone_into(&mut process)).is_some()
        });
        process
    }

    fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            let screen = self.tmux(&["capture-pane", "-p"]);
            assert!(Instant::now() < deadline, "still waiting: {what}\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a file and reads it.
    fn file(&self, name: &str) -> String {
        let read = || fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        self.until(name, || !read().is_empty());
        read()
    }

    /// Waits for the end; answers the status. The terminal is as it was.
    fn end(&self) -> i32 {
        let status = self.file("done").trim().parse().unwrap();
        assert_eq!(self.file("before"), self.file("after"));
        status
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        // It has gone already if its terminal could not be opened.
        let _ = self.try_tmux(&["kill-server"]);
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// `cargo test` has built it, unless only this file was asked for.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().nth(2).unwrap();
    let path = profile.join("examples").join(name);
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "ropewalk"]);
        build.args(["--example", name, "--target-dir"]);
        build.arg(profile.parent().unwrap());
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(build.status().unwrap().success());
    }
    path
}

/// Whether the process has ended, be it waited for or not.
fn is_gone(process: &str) -> bool {
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    }
}

const POLLERS: [&str; 3] = ["epoll", "poll", "select"];

#[test]
fn an_editor_is_used_through_a_relay() {
    for poller in POLLERS {
        let pane = Pane::open(poller, &EDITOR);
        pane.shows_editor("80x24");
        pane.types("iropewalk, ünïcode", "Enter");
        pane.types("second line", "Escape");
        pane.shows("ropewalk, ünïcode\nsecond line\n~\n");
        pane.resize("61", "17");
        pane.shows_editor("61x17");
        pane.types(":w", "Enter");
        pane.shows("\"file\" [New] 2L, ");
        assert_eq!(pane.file("file"), "ropewalk, ünïcode\nsecond line\n");
        pane.resize("100", "40");
        pane.shows_editor("100x40");
        pane.types(":cquit 5", "Enter");
        assert_eq!(pane.end(), 5);
        // Lines are echoed and edited again.
        pane.types("a lane", "BSpace");
        pane.types("e again", "Enter");
        pane.shows("a lane again\na lane again\n");
    }
}

#[test]
fn a_relay_that_is_terminated_leaves_the_terminal_as_it_was() {
    for poller in POLLERS {
        let pane = Pane::open(poller, &EDITOR);
        let editor = pane.shows_editor("80x24");
        pane.types("inever ", "s");
        pane.shows("never s");
        let relay = Pid::from_raw(pane.file("pid").trim().parse().unwrap());
        kill_process(relay.unwrap(), Signal::TERM).unwrap();
        assert_eq!(pane.end(), 1);
        pane.until("the editor's end", || is_gone(&editor));
        assert!(!pane.directory.join("file").exists());
    }
}

#[test]
fn a_flood_through_a_relay_is_paged_and_interrupted() {
    for poller in POLLERS {
        let pane = Pane::open(poller, &["env", "PS1=inner> ", "sh"]);
        pane.shows("inner>");
        // What the relay cannot write yet waits in the terminal inside.
        pane.types("seq 300000", "Enter");
        pane.shows("299999\n300000\ninner>\n");
        pane.types("seq 1000 | less -X", "Enter");
        pane.shows("23\n:\n");
        pane.types("G", "G");
        pane.shows("1000\n(END)\n");
        pane.types("", "q");
        pane.shows("inner>\n");
        pane.types("yes flood", "Enter");
        pane.shows("flood\nflood\nflood\n");
        pane.types("", "C-c");
        pane.until("the end of the flood", || {
            let screen = pane.tmux(&["capture-pane", "-p"]);
            screen.trim_end().ends_with("\ninner>")
        });
        pane.types("exit 3", "Enter");
        assert_eq!(pane.end(), 3);
    }
}
