//! All that a child needs before it is another program, in memory before there is a child.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{CString, NulError, c_char};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr;

use super::credentials::Credentials;
use super::error::{SpawnError, Step};
use super::moves::{Move, gaps, moves};
use super::spawn::{Group, Program};

/// Where a program without a slash in its name is looked for if no environment says: as
/// `confstr(_CS_PATH)` and Python's `os.defpath` have it.
const DEFAULT_SEARCH_PATH: &[u8] = b"/bin:/usr/bin";

/// A description of a child, resolved.
pub(super) struct Prepared {
    /// The paths to try, in order.
    pub(super) candidates: Vec<CString>,
    pub(super) arguments: Pointers,
    pub(super) environment: Pointers,
    pub(super) directory: Option<CString>,
    pub(super) group: Group,
    /// The terminal to be the controlling one, by its number in the parent.
    pub(super) terminal: Option<RawFd>,
    pub(super) moves: Vec<Move>,
    /// What to close after the moves.
    pub(super) gaps: Vec<(u32, u32)>,
    /// How many descriptors a process may have open.
    pub(super) open_limit: u32,
    pub(super) file_mode_mask: Option<u32>,
    pub(super) credentials: Credentials,
}

impl Prepared {
    /// Of `program` with the descriptors `wanted`, number in the child and in the parent. `spare`
    /// is one more that the child keeps until it is another program, and not a number of `wanted`.
    pub(super) fn new(
        program: &Program,
        wanted: &BTreeMap<RawFd, RawFd>,
        terminal: Option<RawFd>,
        spare: Option<RawFd>,
    ) -> Result<Self, SpawnError> {
        let mut kept: Vec<_> = wanted.keys().copied().chain(spare).collect();
        kept.sort_unstable();
        let arguments = program.arguments.iter().map(|text| [text.as_slice()]);
        let at = |error: NulError| SpawnError::at(Step::Describe)(error.into());
        Ok(Self {
            candidates: candidates(program).map_err(at)?,
            arguments: Pointers::new(arguments).map_err(SpawnError::at(Step::Describe))?,
            environment: environment(program).map_err(SpawnError::at(Step::Describe))?,
            directory: match &program.directory {
                Some(directory) => Some(CString::new(directory.clone()).map_err(at)?),
                None => None,
            },
            group: program.group,
            terminal,
            moves: moves(wanted),
            gaps: gaps(kept),
            open_limit: open_limit(),
            file_mode_mask: program.file_mode_mask,
            credentials: program.credentials.clone().resolved(),
        })
    }
}

/// Texts, and an array of pointers to them with a null pointer at its end.
pub(super) struct Pointers {
    pointers: Vec<*const c_char>,
    /// What the pointers point to, which is not moved with the `Vec`: one text after the other, a
    /// zero byte at the end of each.
    _texts: Vec<u8>,
}

impl Pointers {
    /// Each text is made of parts.
    fn new<'a, const PARTS: usize>(
        all: impl Iterator<Item = [&'a [u8]; PARTS]>,
    ) -> io::Result<Self> {
        let (mut texts, mut starts) = (Vec::new(), Vec::new());
        for parts in all {
            starts.push(texts.len());
            for part in parts {
                texts.extend_from_slice(without_zero(part)?);
            }
            texts.push(0);
        }
        let pointers = starts.into_iter().map(|start| texts[start..].as_ptr());
        Ok(Self {
            pointers: pointers
                .map(<*const u8>::cast)
                .chain([ptr::null()])
                .collect(),
            _texts: texts,
        })
    }

    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// A text that a program can be given: a zero byte would be its end. It may be a secret, and is not
/// told.
fn without_zero(text: &[u8]) -> io::Result<&[u8]> {
    if text.contains(&0) {
        let error = "an argument or a variable of a child has a zero byte in it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    }
    Ok(text)
}

fn candidates(program: &Program) -> Result<Vec<CString>, NulError> {
    let name = &program.name;
    if name.is_empty() || name.contains(&b'/') {
        return Ok(vec![CString::new(name.clone())?]);
    }
    let directories = search_path(program);
    let paths = directories.split(|byte| *byte == b':').map(|directory| {
        let mut path = directory.to_vec();
        // An empty one is the working directory.
        if !matches!(path.last(), None | Some(b'/')) {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        CString::new(path)
    });
    paths.collect()
}

fn search_path(program: &Program) -> Vec<u8> {
    let own = || {
        let variables = program.environment.as_ref()?;
        let found = variables.iter().find(|(name, _)| name == b"PATH")?;
        Some(found.1.clone())
    };
    let inherited = || env::var_os("PATH").map(OsStringExt::into_vec);
    let given = program.search_path.clone();
    let path = given.or_else(own).or_else(inherited);
    path.unwrap_or_else(|| DEFAULT_SEARCH_PATH.to_vec())
}

fn environment(program: &Program) -> io::Result<Pointers> {
    if let Some(given) = &program.environment {
        let entries = given
            .iter()
            .map(|(name, value)| [name.as_slice(), b"=", value.as_slice()]);
        return Pointers::new(entries);
    }
    let inherited: Vec<_> = env::vars_os().collect();
    let entries = inherited.iter();
    Pointers::new(entries.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()]))
}

/// `sysconf(_SC_OPEN_MAX)`. Some systems answer that there is no limit: what is tried one by one
/// has to have one.
fn open_limit() -> u32 {
    const HIGHEST: u32 = 1 << 20;
    // SAFETY: the call takes a number.
    let limit = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    u32::try_from(limit).map_or(HIGHEST, |limit| limit.min(HIGHEST))
}

/// Refuses numbers that no descriptor has.
pub(super) fn check_numbers(wanted: &BTreeMap<RawFd, RawFd>) -> Result<(), SpawnError> {
    match wanted.keys().find(|number| **number < 0) {
        None => Ok(()),
        Some(number) => {
            let text = format!("a child has no descriptor {number}");
            let error = io::Error::new(io::ErrorKind::InvalidInput, text);
            Err(SpawnError::at(Step::Describe)(error))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn program(name: &str, path: Option<&str>) -> Program {
        let path = path.map(|path| (b"PATH".to_vec(), path.into()));
        Program {
            name: name.into(),
            environment: path.map(|path| vec![path]),
            ..Program::default()
        }
    }

    fn paths(program: &Program) -> Vec<String> {
        let candidates = candidates(program).unwrap();
        candidates
            .into_iter()
            .map(|path| path.into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_name_is_looked_for_along_the_childs_path() {
        let of = program("x", Some("/a:/b/::c"));
        assert_eq!(paths(&of), ["/a/x", "/b/x", "x", "c/x"]);
        assert_eq!(paths(&program("./x", Some("/a"))), ["./x"]);
        assert_eq!(paths(&program("", Some("/a"))), [""]);
    }

    #[test]
    fn a_path_given_for_the_search_comes_first() {
        let mut of = program("x", Some("/a"));
        of.search_path = Some(b"/b".to_vec());
        assert_eq!(paths(&of), ["/b/x"]);
    }

    #[test]
    fn without_a_path_of_its_own_the_parents_is_searched() {
        let mut of = program("x", None);
        let inherited = paths(&of);
        of.environment = Some(Vec::new());
        assert_eq!(paths(&of), inherited);
        let first = env::var("PATH").unwrap();
        let first = first.split(':').next().unwrap();
        assert_eq!(inherited[0], format!("{first}/x"));
    }
}
