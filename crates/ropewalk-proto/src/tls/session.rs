//! The session: rustls's connection, what is held over between reads, and what is to be sent.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, Error, HandshakeKind, InvalidMessage, IoState,
    NamedGroup, ProtocolVersion, ServerConfig, ServerConnection, SupportedCipherSuite,
};

use super::error::TlsError;
use super::record::{self, Extent, MAX_RECORD};
use crate::WriteQueue;

/// How much of the input to process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intake {
    /// Everything.
    All,
    /// Nothing behind the handshake: the program does not read. What is left is kept as it came,
    /// at most the input of one call, for a later call with [`All`](Self::All).
    Handshake,
}

/// What came of some input, in the order in which to deliver it.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Received {
    /// The handshake has just completed: [`Session::seal`] works from now on.
    pub handshake_completed: bool,
    /// How much plaintext lies at the front of the input, in bytes.
    pub plaintext: usize,
    /// The peer has just sent close_notify: no more data will come from it.
    pub peer_closed: bool,
    /// The session has failed. Answered again by every later call.
    pub error: Option<TlsError>,
}

/// One side of a TLS connection, without the connection. See the [module](super) for its use.
pub struct Session {
    connection: Connection,
    /// Ciphertext that waits for more: a partial record, or what is behind the handshake.
    held: Vec<u8>,
    /// What is to be sent, from `sent` on. Empty whenever all is sent.
    outgoing: Vec<u8>,
    /// How much of `outgoing` is sent already, in bytes.
    sent: usize,
    failure: Option<TlsError>,
    /// Whether a record of the peer was found.
    speaks_tls: bool,
    peer_closed: bool,
    /// Whether this side has closed, even if the handshake does not let it say so yet.
    closed: bool,
    close_sent: bool,
}

impl Session {
    /// The smallest buffer to read into, in bytes: one record.
    pub const MIN_READ_BUFFER: usize = MAX_RECORD;

    /// The most that a spare buffer keeps allocated, in bytes.
    pub const SPARE_LIMIT: usize = 256 * 1024;

    /// Starts a session with the server `name`. Its first message is in
    /// [`outgoing`](Self::outgoing).
    ///
    /// # Errors
    ///
    /// [`TlsError::Internal`]: `config` cannot be used.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        let connection = ClientConnection::new(config, name).map_err(TlsError::Internal)?;
        Ok(Self::new(Connection::Client(connection)))
    }

    /// Starts a session that waits for a client. Early data is refused, whatever `config` says.
    ///
    /// # Errors
    ///
    /// [`TlsError::Internal`]: `config` cannot be used.
    pub fn server(mut config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        if config.max_early_data_size > 0 {
            Arc::make_mut(&mut config).max_early_data_size = 0;
        }
        let connection = ServerConnection::new(config).map_err(TlsError::Internal)?;
        Ok(Self::new(Connection::Server(connection)))
    }

    fn new(mut connection: Connection) -> Self {
        // Its limit would cut records short; `seal` has its own.
        connection.set_buffer_limit(None);
        let mut session = Self {
            connection,
            held: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            failure: None,
            speaks_tls: false,
            peer_closed: false,
            closed: false,
            close_sent: false,
        };
        session.collect();
        session
    }
}

/// Receiving.
impl Session {
    /// Puts the held-over ciphertext at the front of `buffer` and answers its length in bytes.
    ///
    /// Fresh ciphertext belongs directly behind it, for [`process`](Self::process); there is no room
    /// only if the program does not read ([`Intake::Handshake`]). A read that brought nothing needs
    /// no further call.
    ///
    /// # Panics
    ///
    /// When `buffer` is smaller than [`MIN_READ_BUFFER`](Self::MIN_READ_BUFFER), or than a buffer
    /// used before.
    pub fn begin_read(&self, buffer: &mut [u8]) -> usize {
        assert!(
            buffer.len() >= Self::MIN_READ_BUFFER,
            "a read buffer has to hold a record"
        );
        buffer[..self.held.len()].copy_from_slice(&self.held);
        self.held.len()
    }

    /// Whether whole records are held over, to be processed without fresh ciphertext.
    pub fn has_pending(&self) -> bool {
        record::first_record(&self.held) != Extent::Partial
    }

    /// Decrypts `input`, which begins with what [`begin_read`](Self::begin_read) put there, and
    /// leaves the plaintext of all its records at its front.
    ///
    /// Plaintext before an error or a close_notify is delivered with it. What follows either is
    /// dropped.
    pub fn process(&mut self, input: &mut [u8], intake: Intake) -> Received {
        debug_assert!(input.starts_with(&self.held), "begin_read was not used");
        let was_handshaking = self.is_handshaking();
        let was_open = !self.peer_closed;
        let mut taken = 0;
        let mut plaintext = 0;
        while self.receives(intake) {
            let record = match record::first_record(&input[taken..]) {
                Extent::Partial => break,
                Extent::Whole(length) => taken..taken + length,
                Extent::Invalid => {
                    self.refuse(&input[taken..taken + record::HEADER]);
                    break;
                }
            };
            taken = record.end;
            self.speaks_tls = true;
            match self.open(&input[record]) {
                // A record is longer than its plaintext, so that this fits in front of `taken`.
                Ok(length) => plaintext += self.read(&mut input[plaintext..plaintext + length]),
                Err(error) => self.fail(error),
            }
        }
        self.collect();
        self.say_close();
        self.hold(&input[taken..]);
        Received {
            handshake_completed: was_handshaking && !self.is_handshaking(),
            plaintext,
            peer_closed: was_open && self.peer_closed,
            error: self.failure.clone(),
        }
    }

    /// What it means that the peer's stream has ended, once nothing is
    /// [pending](Self::has_pending).
    ///
    /// # Errors
    ///
    /// - [`TlsError::Truncated`]: it was cut, for the peer did not say that this is the end.
    /// - Any other: the session had failed before.
    pub fn end(&self) -> Result<(), TlsError> {
        match &self.failure {
            Some(error) => Err(error.clone()),
            None if self.peer_closed => Ok(()),
            None => Err(TlsError::Truncated),
        }
    }

    fn receives(&self, intake: Intake) -> bool {
        self.failure.is_none()
            && !self.peer_closed
            && (intake == Intake::All || self.is_handshaking())
    }

    /// Has rustls take one record. Answers how much plaintext waits in it, in bytes.
    fn open(&mut self, mut record: &[u8]) -> Result<usize, TlsError> {
        while !record.is_empty() {
            // It refuses only when a message in many records has become too long.
            let too_long = |_| {
                let reason = InvalidMessage::HandshakePayloadTooLarge;
                TlsError::Oversized(Error::InvalidMessage(reason))
            };
            self.connection.read_tls(&mut record).map_err(too_long)?;
        }
        let state = self.process_record()?;
        self.peer_closed = state.peer_has_closed();
        Ok(state.plaintext_bytes_to_read())
    }

    fn process_record(&mut self) -> Result<IoState, TlsError> {
        let connection = &mut self.connection;
        if !self.close_sent {
            return Ok(connection.process_new_packets()?);
        }
        // With debug assertions rustls takes close_notify for the only alert there will be, and
        // panics over a bad record of the peer's (`send_fatal_alert` in its `common_state.rs`). A
        // session that has failed asks it for nothing any more.
        let processed = catch_unwind(AssertUnwindSafe(|| connection.process_new_packets()));
        let bad_record = |_| {
            let text = "a bad record after the close_notify of this side";
            TlsError::Misbehaved(Error::General(text.to_owned()))
        };
        Ok(processed.map_err(bad_record)??)
    }

    fn read(&mut self, plaintext: &mut [u8]) -> usize {
        if !plaintext.is_empty() {
            self.connection
                .reader()
                .read_exact(plaintext)
                .expect("rustls has as much plaintext as it said");
        }
        plaintext.len()
    }

    /// Fails for `header`, which rustls is given for its alert.
    fn refuse(&mut self, header: &[u8]) {
        let reason = match self.open(header) {
            Err(error) => error,
            Ok(_) => TlsError::Malformed(Error::InvalidMessage(InvalidMessage::InvalidContentType)),
        };
        self.fail(match reason {
            _ if !self.speaks_tls && record::is_http(header) => TlsError::PlainHttp,
            TlsError::Malformed(source) if !self.speaks_tls => TlsError::NotTls(source),
            reason => reason,
        });
    }

    fn fail(&mut self, error: TlsError) {
        self.failure = Some(error);
    }

    fn hold(&mut self, rest: &[u8]) {
        let useful = self.failure.is_none() && !self.peer_closed;
        self.held = if useful { rest.to_vec() } else { Vec::new() };
    }
}

/// Sending.
impl Session {
    /// What is to be sent, in order.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.sent..]
    }

    /// Notes that `count` bytes of [`outgoing`](Self::outgoing) were sent. When that was all, its
    /// memory goes to `spare` if it is of more use there, and is given back if not.
    ///
    /// # Panics
    ///
    /// When `count` is more than there is.
    pub fn advance(&mut self, count: usize, spare: &mut Vec<u8>) {
        self.sent += count;
        assert!(
            self.sent <= self.outgoing.len(),
            "more was sent than there is"
        );
        if self.sent < self.outgoing.len() {
            return;
        }
        self.sent = 0;
        let mut done = mem::take(&mut self.outgoing);
        if done.capacity() > spare.capacity() && done.capacity() <= Self::SPARE_LIMIT {
            done.clear();
            *spare = done;
        }
    }

    /// Lends the memory of `spare` to what is to be sent next, so that a busy connection allocates
    /// none. [`advance`](Self::advance) returns it.
    pub fn lend(&mut self, spare: &mut Vec<u8>) {
        if self.outgoing.capacity() == 0 {
            self.outgoing = mem::take(spare);
            self.outgoing.clear();
        }
    }

    /// Whether [`seal`](Self::seal) takes anything: the handshake is complete, nothing has failed
    /// and this side has not closed.
    pub fn can_seal(&self) -> bool {
        !self.is_handshaking() && self.failure.is_none() && !self.closed
    }

    /// Encrypts plaintext from the front of `queue`, small pieces together in full records, until
    /// there are `limit` bytes to be sent; the last record may go beyond. Answers how many bytes of
    /// plaintext it took. Chunks that are done with go to `released`.
    ///
    /// # Errors
    ///
    /// [`TlsError::KeysExhausted`], with a close_notify to be sent. A failure that was reported
    /// before is no error: nothing is taken.
    pub fn seal<C: AsRef<[u8]>>(
        &mut self,
        queue: &mut WriteQueue<C>,
        limit: usize,
        released: &mut impl FnMut(C),
    ) -> Result<usize, TlsError> {
        let before = queue.len();
        while self.can_seal() && !queue.is_empty() && self.outgoing().len() < limit {
            let room = (limit - self.outgoing().len()).min(BATCH);
            let taken = self.seal_batch(queue, room.next_multiple_of(RECORD))?;
            queue.advance(taken, released);
        }
        Ok(before - queue.len())
    }

    /// Says that no more will be sent. Nothing is sealed from now on; what the peer sends is still
    /// received. Does nothing when called again, or after a failure.
    ///
    /// While the handshake goes on, the peer hears of it only when that is complete: before, anybody
    /// could have said so, and it is not believed.
    pub fn close(&mut self) {
        self.closed = true;
        self.say_close();
    }

    fn say_close(&mut self) {
        if self.closed && !self.close_sent && self.failure.is_none() && !self.is_handshaking() {
            self.connection.send_close_notify();
            self.collect();
            self.close_sent = true;
        }
    }

    fn seal_batch<C: AsRef<[u8]>>(
        &mut self,
        queue: &WriteQueue<C>,
        limit: usize,
    ) -> Result<usize, TlsError> {
        let mut slices = [IoSlice::new(&[]); GATHER];
        let mut filled = queue.fill_slices(&mut slices, limit);
        let length: usize = slices[..filled].iter().map(|slice| slice.len()).sum();
        if length < limit.min(queue.len()) && length > RECORD {
            // Too many pieces for one call: no partial record where another batch follows.
            filled = queue.fill_slices(&mut slices, length - length % RECORD);
        }
        let start = self.outgoing.len();
        let taken = self.connection.writer().write_vectored(&slices[..filled]);
        self.collect();
        match (taken, self.outgoing.get(start)) {
            (Ok(taken), Some(&record::APPLICATION_DATA)) => Ok(taken),
            // rustls says that it took the data but has sent close_notify instead, or nothing.
            _ => {
                self.fail(TlsError::KeysExhausted);
                Err(TlsError::KeysExhausted)
            }
        }
    }

    /// Moves what rustls has to send to `outgoing`; drops it when close_notify was the last word.
    fn collect(&mut self) {
        let mut nowhere = io::sink();
        while self.connection.wants_write() {
            let written = if self.close_sent {
                self.connection.write_tls(&mut nowhere)
            } else {
                self.connection.write_tls(&mut self.outgoing)
            };
            written.expect("memory takes everything");
        }
    }
}

/// What is known about the session.
impl Session {
    /// Whether the handshake is still to be completed.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether close_notify is, or was, in [`outgoing`](Self::outgoing).
    pub fn close_sent(&self) -> bool {
        self.close_sent
    }

    /// Whether the peer sent close_notify.
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Why the session failed, if it has.
    pub fn failure(&self) -> Option<&TlsError> {
        self.failure.as_ref()
    }

    /// How much ciphertext is held over between reads, in bytes.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The protocol version, once agreed.
    pub fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.connection.protocol_version()
    }

    /// The cipher suite, once agreed.
    pub fn cipher_suite(&self) -> Option<SupportedCipherSuite> {
        self.connection.negotiated_cipher_suite()
    }

    /// The group of the key exchange. `None` before it, and for a resumed session of TLS 1.2.
    pub fn key_exchange_group(&self) -> Option<NamedGroup> {
        self.connection
            .negotiated_key_exchange_group()
            .map(|group| group.name())
    }

    /// The protocol agreed by ALPN, if any.
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// On a server, the name the client asked for, if it did.
    pub fn server_name(&self) -> Option<&str> {
        match &self.connection {
            Connection::Server(connection) => connection.server_name(),
            Connection::Client(_) => None,
        }
    }

    /// The certificates the peer proved its identity with, its own first.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.connection.peer_certificates()
    }

    /// Whether an earlier session was resumed. `None` until that is known.
    pub fn is_resumed(&self) -> Option<bool> {
        let kind = self.connection.handshake_kind()?;
        Some(kind == HandshakeKind::Resumed)
    }

    /// Fills `output` with key material that only the two sides know, for `label` and `context`.
    ///
    /// # Errors
    ///
    /// [`TlsError::Internal`]: the handshake is not complete, the session has failed, or `output` is
    /// empty.
    ///
    /// # References
    ///
    /// [RFC 5705](https://www.rfc-editor.org/rfc/rfc5705),
    /// [RFC 8446, section 7.5](https://www.rfc-editor.org/rfc/rfc8446#section-7.5)
    pub fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: Option<&[u8]>,
    ) -> Result<(), TlsError> {
        self.connection
            .export_keying_material(output, label, context)
            .map(drop)
            .map_err(TlsError::Internal)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("protocol_version", &self.protocol_version())
            .field("is_handshaking", &self.is_handshaking())
            .field("held", &self.held.len())
            .field("outgoing", &self.outgoing().len())
            .field("failure", &self.failure)
            .field("peer_closed", &self.peer_closed)
            .field("close_sent", &self.close_sent)
            .finish_non_exhaustive()
    }
}

/// The most plaintext in a record, in bytes.
const RECORD: usize = 16_384;

/// The most plaintext handed to rustls at once, in bytes: as much as it takes without a limit of
/// its own cutting a record short.
const BATCH: usize = 4 * RECORD;

/// The most pieces handed to rustls at once.
const GATHER: usize = 64;
