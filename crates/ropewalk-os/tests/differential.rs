//! One random script of operations over all pollers at once: each reports the same events.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod subject;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ropewalk_os::{Events, Interest, Poller, Readiness, Registry, Token};
use ropewalk_testkit::{DescriptorCount, socket_pair};

use self::subject::Subject;

const SOURCES: usize = 12;
const STEPS: usize = 400;
const SEEDS: u64 = 25;

/// Xorshift (Marsaglia 2003): the same script for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit as u64) as usize
    }

    fn interest(&mut self) -> Interest {
        let all = [
            Interest::NONE,
            Interest::READABLE,
            Interest::WRITABLE,
            Interest::BOTH,
        ];
        all[self.below(all.len())]
    }
}

/// A poller with its registry, where a source's payload is its place in the script.
struct Loop {
    subject: Subject,
    poller: Box<dyn Poller>,
    registry: Registry<usize>,
    tokens: Vec<Token>,
    events: Events,
}

impl Loop {
    fn new(subject: Subject) -> Self {
        Self {
            subject,
            poller: subject.poller(),
            registry: Registry::new(),
            tokens: Vec::new(),
            events: Events::new(),
        }
    }

    /// What this poller has to report where one that tells hang-ups and errors from readiness
    /// reports `told`.
    fn visible(&self, told: &BTreeMap<usize, Readiness>) -> BTreeMap<usize, Readiness> {
        let mut visible = told.clone();
        if !self.poller.capabilities().reports_hangups {
            for (source, readiness) in &mut visible {
                let interest = self.registry.interest(self.tokens[*source]).unwrap();
                *readiness = met(*readiness, interest);
            }
            visible.retain(|_, readiness| !readiness.is_none());
        }
        visible
    }

    /// What is reported, without the error that a poller need not tell with readability.
    fn plain(&self, readiness: Readiness) -> Readiness {
        let may_be_told = readiness.is_readable() && !self.poller.capabilities().reports_hangups;
        if may_be_told {
            readiness.without(Readiness::ERROR)
        } else {
            readiness
        }
    }

    /// What one turn reports of each source that is alive.
    fn turn(&mut self) -> BTreeMap<usize, Readiness> {
        let mut failed = Vec::new();
        self.registry.apply(&mut *self.poller, &mut failed);
        assert!(failed.is_empty(), "{}: {failed:?}", self.subject);
        self.poller
            .wait(&mut self.events, Some(Duration::ZERO))
            .unwrap();
        self.registry.push_always_ready(&mut self.events);
        let mut reports = BTreeMap::new();
        for event in &self.events {
            if let Some(source) = self.registry.get(event.token) {
                let second = reports.insert(*source, self.plain(event.readiness));
                assert_eq!(second, None, "{}: two events of one source", self.subject);
            }
        }
        reports
    }
}

/// What of `told` a poller reports that knows readability and writability only: an end can be read,
/// and an error be met by writing.
fn met(told: Readiness, interest: Interest) -> Readiness {
    let says = |any: &[Readiness]| any.iter().any(|one| told.contains(*one));
    let mut met = Readiness::NONE;
    if interest.is_readable() && says(&[Readiness::READABLE, Readiness::HANGUP, Readiness::ERROR]) {
        met |= Readiness::READABLE;
    }
    if interest.is_writable() && says(&[Readiness::WRITABLE, Readiness::ERROR]) {
        met |= Readiness::WRITABLE;
    }
    met
}

#[derive(Clone, Copy, Debug)]
enum Step {
    SetInterest(usize, Interest),
    Write(usize),
    Fill(usize),
    Drain(usize),
    DrainPeer(usize),
    ClosePeer(usize),
    /// Removes the source, at once or at the next turn, and puts a new pair or file in its place.
    Replace(usize, bool, bool),
    /// As after a fork.
    Rebuild,
}

impl Step {
    fn random(random: &mut Random) -> Self {
        let source = random.below(SOURCES);
        match random.below(20) {
            0..=7 => Self::SetInterest(source, random.interest()),
            8..=10 => Self::Write(source),
            11 => Self::Fill(source),
            12..=13 => Self::Drain(source),
            14..=15 => Self::DrainPeer(source),
            16 => Self::ClosePeer(source),
            17..=18 => Self::Replace(source, random.below(2) == 0, random.below(5) == 0),
            _ => Self::Rebuild,
        }
    }
}

/// The near end, which the loops watch through duplicates, and its peer. A regular file has none.
struct Pair {
    near: File,
    far: Option<File>,
}

impl Pair {
    fn new(regular: bool) -> Self {
        if regular {
            let near = File::open(std::env::current_exe().unwrap()).unwrap();
            return Self { near, far: None };
        }
        let (near, far) = socket_pair();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        let [near, far] = [near, far].map(|end| File::from(OwnedFd::from(end)));
        let far = Some(far);
        Self { near, far }
    }
}

/// The script's state: the pairs, and every loop's view of them.
struct Script {
    pairs: Vec<Pair>,
    loops: Vec<Loop>,
}

impl Script {
    fn new() -> Self {
        let pairs: Vec<_> = (0..SOURCES).map(|_| Pair::new(false)).collect();
        let mut loops: Vec<_> = Subject::all().into_iter().map(Loop::new).collect();
        for each in &mut loops {
            for (source, pair) in pairs.iter().enumerate() {
                let fd = pair.near.as_fd().try_clone_to_owned().unwrap();
                each.tokens.push(each.registry.insert(fd.into(), source));
            }
        }
        Self { pairs, loops }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::SetInterest(source, interest) => {
                for each in &mut self.loops {
                    let token = each.tokens[source];
                    assert!(each.registry.set_interest(token, interest));
                }
            }
            Step::Write(source) => {
                if let Some(far) = &mut self.pairs[source].far {
                    ignore_full(far.write(b"rope"));
                }
            }
            Step::Fill(source) => {
                let near = &mut self.pairs[source].near;
                while near.write(&[7; 65536]).is_ok() {}
            }
            Step::Drain(source) => drain(&mut self.pairs[source].near),
            Step::DrainPeer(source) => self.pairs[source].far.iter_mut().for_each(drain),
            Step::ClosePeer(source) => self.pairs[source].far = None,
            Step::Replace(source, at_once, regular) => self.replace(source, at_once, regular),
            Step::Rebuild => {
                for each in &mut self.loops {
                    each.poller = each.subject.poller();
                    each.registry.forget_registrations();
                }
            }
        }
    }

    fn replace(&mut self, source: usize, at_once: bool, regular: bool) {
        self.pairs[source] = Pair::new(regular);
        for each in &mut self.loops {
            let poller: Option<&mut dyn Poller> = at_once.then_some(&mut *each.poller);
            let token = each.tokens[source];
            // Closed here: the duplicate made next has its number, mostly.
            drop(each.registry.remove(token, poller).unwrap());
            let near = self.pairs[source].near.as_fd();
            let fd = near.try_clone_to_owned().unwrap();
            each.tokens[source] = each.registry.insert(fd.into(), source);
        }
    }
}

/// Reads all there is, of a regular file the first part.
fn drain(end: &mut File) {
    let mut buffer = vec![0; 1 << 20];
    ignore_full(end.read(&mut buffer));
}

fn ignore_full(result: std::io::Result<usize>) {
    if let Err(error) = result {
        assert!(
            matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::ConnectionReset
            ),
            "{error}"
        );
    }
}

#[test]
fn a_random_script_has_the_same_events_over_every_poller() {
    let _count = DescriptorCount::new();
    let mut seen = Readiness::NONE;
    let mut reports = 0;
    for seed in 1..=SEEDS {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut script = Script::new();
        let mut history = Vec::new();
        for _ in 0..STEPS {
            let step = Step::random(&mut random);
            history.push(step);
            script.play(step);
            // Some turns come after several steps.
            if random.below(3) == 0 {
                continue;
            }
            let mut loops = script.loops.iter_mut();
            let expected = loops.next().map(Loop::turn).unwrap();
            for each in loops {
                let visible = each.visible(&expected);
                let subject = each.subject;
                assert_eq!(
                    each.turn(),
                    visible,
                    "{subject} after seed {seed} {history:?}"
                );
            }
            reports += expected.len();
            expected.values().for_each(|readiness| seen |= *readiness);
        }
    }
    // The script is worth something only if it gets about.
    assert!(reports > 10_000, "{reports}");
    assert!(seen.contains(Readiness::READABLE | Readiness::WRITABLE | Readiness::HANGUP));
}
