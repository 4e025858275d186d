//! Which descriptors the child has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread;

use ropewalk_os::process::{ChildFd, Ended, Spawn, Spawned};
use rustix::fs::{OFlags, fcntl_getfl, fstat};
use rustix::io::{FdFlags, fcntl_getfd};

use crate::Fixture;
use crate::fixture::read_to_end;

/// A second owner of `fd`'s file under a number of at least `least`, that a child would inherit.
pub(crate) fn inheritable(fd: &impl AsFd, least: RawFd) -> OwnedFd {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: the call takes numbers.
    let number = unsafe { libc::fcntl(raw, libc::F_DUPFD, least) };
    assert!(number >= least, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and nobody else's.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn name_of(fd: &impl AsFd) -> String {
    format!("pipe:[{}]", fstat(fd).unwrap().st_ino)
}

/// What a child that lists its descriptors has: number and file. Its own listing is none of them.
fn listed(output: &str) -> BTreeMap<RawFd, String> {
    let entries = output.lines().filter_map(|line| line.split_once(" -> "));
    let entries = entries.map(|(before, file)| {
        let number = before.rsplit(' ').next().unwrap();
        (number.parse().unwrap(), file.to_owned())
    });
    entries
        .filter(|(_, file): &(_, String)| !file.starts_with("/proc/"))
        .collect()
}

fn lister<'fd>(fixture: &Fixture) -> Spawn<'fd> {
    let mut spawn = fixture.spawn_of("/bin/ls");
    spawn.arguments(["ls", "-n", "/proc/self/fd"]);
    spawn
}

fn soft_limit() -> RawFd {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    RawFd::try_from(limit.current.unwrap().min(4096)).unwrap()
}

pub(crate) fn the_child_has_what_it_is_given_and_no_other(fixture: &Fixture) {
    let (read, _write) = rustix::pipe::pipe().unwrap();
    let _next = inheritable(&read, 3);
    let _far = inheritable(&read, soft_limit() - 1);
    let mut spawn = lister(fixture);
    spawn
        .descriptor(0, ChildFd::Reads)
        .descriptor(7, ChildFd::Inherits(read.as_fd()));
    let Spawned {
        mut child,
        mut pipes,
    } = spawn.descriptor(1, ChildFd::Writes).spawn().unwrap();
    let out = pipes.remove(&1).unwrap();
    let expected = [
        (0, name_of(&pipes[&0])),
        (1, name_of(&out)),
        (7, name_of(&read)),
    ];
    let output = String::from_utf8(read_to_end(out)).unwrap();
    assert_eq!(fixture.finish(&mut child), Ended::Exited(0));
    assert_eq!(listed(&output), BTreeMap::from(expected));
}

pub(crate) fn random_mappings_arrive(fixture: &Fixture) {
    const WIDTH: RawFd = 12;
    let mut state = 7_u32;
    let mut random = move |below: RawFd| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as RawFd % below
    };
    // Sources under adjoining numbers, so that the mappings are permutations in large part.
    let first = inheritable(&rustix::pipe::pipe().unwrap().0, 20).as_raw_fd();
    for _ in 0..40 {
        let (output, write) = rustix::pipe::pipe().unwrap();
        let write_inode = name_of(&write);
        let mut sources = vec![inheritable(&write, first)];
        drop(write);
        let others: Vec<_> = (1..WIDTH).map(|_| rustix::pipe::pipe().unwrap()).collect();
        sources.extend(others.iter().map(|(read, _)| inheritable(read, first)));
        let mut spawn = lister(fixture);
        spawn.descriptor(1, ChildFd::Inherits(sources[0].as_fd()));
        let mut expected = BTreeMap::from([(1, write_inode)]);
        for _ in 0..random(WIDTH) {
            let number = first + random(WIDTH);
            let source = &sources[random(WIDTH) as usize];
            spawn.descriptor(number, ChildFd::Inherits(source.as_fd()));
            expected.insert(number, name_of(source));
        }
        let mut child = spawn.spawn().unwrap().child;
        drop(spawn);
        drop((sources, others));
        let output = String::from_utf8(read_to_end(output)).unwrap();
        assert_eq!(fixture.finish(&mut child), Ended::Exited(0));
        assert_eq!(listed(&output), expected);
    }
}

pub(crate) fn one_pipe_may_have_several_numbers(fixture: &Fixture) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let mut spawn = fixture.shell("echo one; echo two >&2; echo three >&9");
    for number in [1, 2, 9] {
        spawn.descriptor(number, ChildFd::Inherits(write.as_fd()));
    }
    let mut child = spawn.spawn().unwrap().child;
    drop(spawn);
    drop(write);
    assert_eq!(read_to_end(read), b"one\ntwo\nthree\n");
    assert_eq!(fixture.finish(&mut child), Ended::Exited(0));
}

pub(crate) fn their_ends_block_and_ours_do_not(fixture: &Fixture) {
    let mut spawn = fixture.shell("grep flags /proc/self/fdinfo/0 /proc/self/fdinfo/1");
    spawn
        .descriptor(0, ChildFd::Reads)
        .descriptor(1, ChildFd::Writes);
    let Spawned {
        mut child,
        mut pipes,
    } = spawn.spawn().unwrap();
    for pipe in pipes.values() {
        assert!(fcntl_getfl(pipe).unwrap().contains(OFlags::NONBLOCK));
        assert!(fcntl_getfd(pipe).unwrap().contains(FdFlags::CLOEXEC));
    }
    let output = String::from_utf8(read_to_end(pipes.remove(&1).unwrap())).unwrap();
    assert_eq!(fixture.finish(&mut child), Ended::Exited(0));
    let flags = output.lines().map(|line| line.rsplit('\t').next().unwrap());
    let flags: Vec<_> = flags
        .map(|flags| u32::from_str_radix(flags, 8).unwrap())
        .collect();
    assert_eq!(flags.len(), 2, "{output}");
    let blocking = |flags: &u32| flags & OFlags::NONBLOCK.bits() == 0;
    assert!(flags.iter().all(blocking), "{output}");
}

pub(crate) fn a_megabyte_comes_back(fixture: &Fixture) {
    let data: Vec<u8> = (0..1_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let mut spawn = fixture.spawn_of("cat");
    spawn
        .descriptor(0, ChildFd::Reads)
        .descriptor(1, ChildFd::Writes);
    let Spawned {
        mut child,
        mut pipes,
    } = spawn.spawn().unwrap();
    let input = pipes.remove(&0).unwrap();
    rustix::io::ioctl_fionbio(&input, false).unwrap();
    let sent = data.clone();
    let writer = thread::spawn(move || File::from(input).write_all(&sent).unwrap());
    assert_eq!(read_to_end(pipes.remove(&1).unwrap()), data);
    writer.join().unwrap();
    assert_eq!(fixture.finish(&mut child), Ended::Exited(0));
}

/// A parent without descriptors 0 to 2, as a daemon's may be: a thread with a table of its own.
pub(crate) fn pipes_may_have_low_numbers_here(fixture: &Fixture) {
    let result = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: the calls take numbers. What the numbers name stays open in the table of
            // the other threads, in which their owners use them.
            unsafe {
                assert_eq!(libc::unshare(libc::CLONE_FILES), 0);
                (0..3).for_each(|number| assert_eq!(libc::close(number), 0));
            }
            let mut spawn = fixture.shell("cat; echo end; echo error >&2");
            spawn
                .descriptor(0, ChildFd::Reads)
                .descriptor(1, ChildFd::Writes);
            let Spawned {
                mut child,
                mut pipes,
            } = spawn.descriptor(2, ChildFd::Writes).spawn().unwrap();
            let input = pipes.remove(&0).unwrap();
            File::from(input).write_all(b"begin\n").unwrap();
            let output = read_to_end(pipes.remove(&1).unwrap());
            let error = read_to_end(pipes.remove(&2).unwrap());
            (output, error, fixture.finish(&mut child))
        });
        thread.join().unwrap()
    });
    let expected = (
        b"begin\nend\n".to_vec(),
        b"error\n".to_vec(),
        Ended::Exited(0),
    );
    assert_eq!(result, expected);
}

pub(crate) fn a_child_without_descriptors_has_none(fixture: &Fixture) {
    // By its exit code, for it can tell no other way: nothing is open but the directory it looks
    // into, which a shell's pattern opens under the lowest number and has closed when it counts.
    let script = "n=0; for f in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do \
                  [ -e /proc/$$/fd/$f ] && n=$((n+1)); done; exit $n";
    let _open = inheritable(&std::io::stderr(), 3);
    assert_eq!(fixture.run(&fixture.shell(script)), Ended::Exited(0));
}
