//! What the system's database knows of a user.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::mem;
use std::ptr;

/// The groups of a user beside `group`, and that one: what a login gives, for
/// [`Spawn::groups`](super::Spawn::groups). A user that the database does not know has that one
/// only.
///
/// It reads files, or asks a server: not in a loop's turn.
///
/// # Errors
///
/// What the database could not be read with.
///
/// # References
///
/// [getgrouplist(3)](https://man7.org/linux/man-pages/man3/getgrouplist.3.html)
pub fn groups_of(user: u32, group: u32) -> io::Result<Vec<u32>> {
    match name_of(user)? {
        Some(name) => with_room(|room, count| list_groups(&name, group, room, count)),
        None => Ok(vec![group]),
    }
}

fn name_of(user: u32) -> io::Result<Option<CString>> {
    let mut room: Vec<c_char> = vec![0; 1024];
    loop {
        // SAFETY: all zeros is a value of the struct: numbers and null pointers.
        let mut entry: libc::passwd = unsafe { mem::zeroed() };
        let mut found = ptr::null_mut();
        let (start, length) = (room.as_mut_ptr(), room.len());
        // SAFETY: the call writes to the entry, to `found`, and to the room up to its length.
        let error =
            unsafe { libc::getpwuid_r(user, &raw mut entry, start, length, &raw mut found) };
        if error == 0 && found.is_null() {
            return Ok(None);
        }
        if error == 0 {
            // SAFETY: the entry was found, and its name is a text in the room.
            return Ok(Some(unsafe { CStr::from_ptr(entry.pw_name) }.to_owned()));
        }
        match error {
            libc::ERANGE => room.resize(room.len() * 2, 0),
            libc::EINTR => {}
            // How some databases say that they do not know the user.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// More than a process can be in, on any system: 65,536 on Linux, fewer elsewhere.
const MOST_GROUPS: usize = 1 << 18;

/// Calls `list` with ever more room until it has enough. It writes as many numbers as `count` says at
/// most, and answers below zero if these were not all, or it failed: the systems do not say which.
fn with_room(
    mut list: impl FnMut(&mut [u32], &mut libc::c_int) -> libc::c_int,
) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 32];
    loop {
        let mut count = groups.len() as libc::c_int;
        let result = list(&mut groups, &mut count);
        let count = usize::try_from(count).unwrap_or(0);
        if result >= 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        // Some systems say how many there are, others do not.
        let larger = count.max(groups.len() * 2);
        if larger > MOST_GROUPS {
            return Err(io::Error::last_os_error());
        }
        groups.resize(larger, 0);
    }
}

fn list_groups(name: &CStr, group: u32, room: &mut [u32], count: &mut libc::c_int) -> libc::c_int {
    let room = room.as_mut_ptr().cast();
    // SAFETY: the name is a text; the call writes as many numbers of 32 bits as `count` says, which
    // is the length of the room.
    unsafe { libc::getgrouplist(name.as_ptr(), group as _, room, count) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;

    #[test]
    fn the_groups_are_those_of_a_login() {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let users = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>());
        for user in users {
            let groups = groups_of(user[2].parse().unwrap(), user[3].parse().unwrap()).unwrap();
            let groups: BTreeSet<_> = groups.into_iter().collect();
            let output = Command::new("id").args(["-G", user[0]]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let expected = text.split_whitespace().map(|id| id.parse().unwrap());
            assert_eq!(groups, expected.collect::<BTreeSet<u32>>(), "{}", user[0]);
        }
    }

    #[test]
    fn an_unknown_user_has_the_one_group() {
        assert_eq!(groups_of(3_999_999_999, 7).unwrap(), [7]);
    }

    #[test]
    fn room_grows_as_far_as_there_can_be_groups() {
        let answer = |all: libc::c_int, tells: bool| {
            with_room(move |room, count| {
                let enough = room.len() >= all as usize;
                if enough || tells {
                    *count = all;
                }
                if enough { all } else { -1 }
            })
        };
        for all in [0, 32, 33, 1000, 65_536] {
            for tells in [false, true] {
                assert_eq!(answer(all, tells).unwrap().len(), all as usize);
            }
        }
        // A call that fails whatever it is given.
        assert!(with_room(|_, _| -1).is_err());
    }
}
