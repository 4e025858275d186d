//! Guards against what a test leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// The descriptors open when a test began. Dropped, it panics if others stay open.
///
/// What another thread of the process has open for a moment is no leak: the test harness starts and
/// ends threads meanwhile, and the C library reads `/sys` and `/proc` when it does. A leak is seen
/// by every look for a second; whatever one look does not see was none.
///
/// Descriptors are the process's: tests that run beside each other in threads disturb each other's
/// count, and hold a lock around it.
#[derive(Debug)]
pub struct DescriptorCount(BTreeMap<i32, String>);

impl DescriptorCount {
    /// Notes what is open now.
    pub fn new() -> Self {
        Self(open_descriptors())
    }

    /// What is open now and was not, or was something else: number and target of each.
    pub fn leaked(&self) -> Vec<String> {
        open_descriptors()
            .into_iter()
            .filter(|(number, target)| self.0.get(number) != Some(target))
            .map(|(number, target)| format!("{number} -> {target}"))
            .collect()
    }
}

impl Default for DescriptorCount {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for DescriptorCount {
    fn drop(&mut self) {
        // A second panic would abort the process and hide the first.
        if thread::panicking() {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            // One look decides: another could see what was opened since.
            let leaked = self.leaked();
            if leaked.is_empty() {
                return;
            }
            let waited = Instant::now() >= deadline;
            assert!(!waited, "descriptors left open: {leaked:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// How long a descriptor may stay open that is no leak.
const PATIENCE: Duration = Duration::from_secs(1);

/// `/proc/self/fd` on Linux, `/dev/fd` elsewhere, without the directory's own descriptor.
fn open_descriptors() -> BTreeMap<i32, String> {
    let path = ["/proc/self/fd", "/dev/fd"]
        .into_iter()
        .find(|path| fs::metadata(path).is_ok())
        .expect("a directory of open descriptors");
    let numbers: Vec<i32> = fs::read_dir(path)
        .expect("a readable directory")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    // The directory is closed by now, so that its own number has no target any more.
    numbers
        .into_iter()
        .filter_map(|number| {
            let target = fs::read_link(format!("{path}/{number}")).ok()?;
            Some((number, target.display().to_string()))
        })
        .collect()
}

/// Panics if this process has a child, running or not waited for. Linux; a no-op elsewhere.
///
/// # Panics
///
/// With the ids of the children.
pub fn assert_no_children() {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else {
        return;
    };
    let children: String = tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .collect();
    assert!(
        children.trim().is_empty(),
        "children left behind: {children}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::process::Command;

    /// One test, for descriptors and children are the process's.
    #[test]
    fn what_is_left_open_is_named() {
        let count = DescriptorCount::new();
        let file = File::open("/dev/null").unwrap();
        let leaked = count.leaked();
        assert!(
            leaked.iter().any(|name| name.ends_with("/dev/null")),
            "{leaked:?}"
        );
        assert!(std::panic::catch_unwind(|| drop(count)).is_err());
        drop(file);

        assert_no_children();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let complaint = std::panic::catch_unwind(assert_no_children);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(complaint.is_err());
        assert_no_children();
    }
}
