//! Closes what a child is not to have. In the child, so: no allocation, nothing that can panic.

use super::prepared::Prepared;

/// Closes every descriptor in the gaps between those that the child keeps.
pub(super) fn close_all_others(prepared: &Prepared) {
    if !system::close(&prepared.gaps) {
        close_one_by_one(&prepared.gaps, prepared.open_limit);
    }
}

/// Tries each number below `limit`, which none can have reached if the limit was never lowered.
fn close_one_by_one(gaps: &[(u32, u32)], limit: u32) {
    for (first, last) in gaps {
        for number in *first..=(*last).min(limit) {
            close(number);
        }
    }
}

/// Closes a number of the child's table.
pub(super) fn close(number: u32) {
    // SAFETY: in the child, where nobody goes on using the number: it is none of those kept.
    unsafe { system::close_one(number) };
}

#[cfg(target_os = "linux")]
mod system {
    use std::mem::{ManuallyDrop, MaybeUninit};
    use std::os::fd::AsRawFd;

    use rustix::fs::{Mode, OFlags, RawDir};

    /// Not by the C library's close(2), which first ends a thread that another has cancelled: here,
    /// in the memory of its parent.
    pub(super) unsafe fn close_one(number: u32) {
        // SAFETY: the caller's promise.
        unsafe { libc::syscall(libc::SYS_close, number) };
    }

    /// Closes the gaps at once; where the kernel cannot (before 5.9), what `/proc` lists of them.
    /// False if that is not there either, or there is no descriptor left to read it with.
    pub(super) fn close(gaps: &[(u32, u32)]) -> bool {
        gaps.iter().all(|gap| close_range(*gap)) || close_listed(gaps).is_some()
    }

    fn close_range((first, last): (u32, u32)) -> bool {
        // SAFETY: as `close`, for each number of the range.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) == 0 }
    }

    fn close_listed(gaps: &[(u32, u32)]) -> Option<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(c"/proc/self/fd", flags, Mode::empty()).ok()?;
        // Left to execve(2): an `OwnedFd` is closed by the C library.
        let directory = ManuallyDrop::new(directory);
        let own = directory.as_raw_fd() as u32;
        let mut room = [MaybeUninit::uninit(); 1024];
        let mut entries = RawDir::new(&*directory, &mut room);
        // The kernel goes on from a number, not from an entry: closing loses none.
        while let Some(entry) = entries.next() {
            let entry = entry.ok()?;
            let name = entry.file_name().to_str().ok()?;
            // The other entries are the directory and its parent.
            let Ok(number) = name.parse::<u32>() else {
                continue;
            };
            let kept = !gaps.iter().any(|gap| (gap.0..=gap.1).contains(&number));
            if !kept && number != own {
                super::close(number);
            }
        }
        Some(())
    }
}

/// closefrom(2) for the last gap, which has no end.
#[cfg(any(
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
mod system {
    pub(super) use super::library::close_one;

    pub(super) fn close(gaps: &[(u32, u32)]) -> bool {
        let Some(((first, _), others)) = gaps.split_last() else {
            return true;
        };
        for (first, last) in others {
            (*first..=*last).for_each(super::close);
        }
        // SAFETY: as `close`, for each number from the first on.
        unsafe { libc::closefrom(*first as libc::c_int) };
        true
    }
}

#[cfg(not(any(
    target_os = "linux",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
)))]
mod system {
    pub(super) use super::library::close_one;

    pub(super) fn close(_gaps: &[(u32, u32)]) -> bool {
        false
    }
}

#[cfg(not(target_os = "linux"))]
mod library {
    pub(super) unsafe fn close_one(number: u32) {
        // SAFETY: the caller's promise.
        unsafe { libc::close(number as libc::c_int) };
    }
}
