//! TLS as a layer of any stream: TCP, UNIX or adopted, from the first byte or from the middle.
//!
//! - [`Reactor::listen_tls`](crate::Reactor::listen_tls) and
//!   [`connect_tls`](crate::Reactor::connect_tls) speak TLS over TCP.
//! - [`TlsServer::factory`] and [`TlsClient::factory`] make a factory of protocols that speak it,
//!   for every other port and connector; [`TlsServer::protocol`] and [`TlsClient::protocol`] a
//!   protocol, for an adopted stream.
//! - [`Transport::start_tls_server`](crate::Transport::start_tls_server) and
//!   [`start_tls_client`](crate::Transport::start_tls_client) go over to it in mid-stream
//!   (STARTTLS).
//!
//! The protocol is by [`rustls`], which see for what it speaks (1.2 and 1.3, no renegotiation); its
//! types are there for what the builders here do not know.
//!
//! # The life of a connection
//!
//! 1. [`connection_made`](crate::Protocol::connection_made) is called when the stream is open, as
//!    for any other. What is written from then on waits for the handshake, under flow control.
//! 2. The handshake goes on by itself, even while the transport is paused. Then
//!    [`handshake_completed`](crate::Protocol::handshake_completed) is called, and
//!    [`Transport::tls`](crate::Transport::tls) tells what was agreed on. If it fails, the
//!    connection ends with [`Disconnect::Tls`](crate::Disconnect::Tls); if it takes too long, it is
//!    [lost](crate::Disconnect::Lost) ([`TimedOut`](std::io::ErrorKind::TimedOut)).
//! 3. Data and flow control are those of any stream.
//!    [`buffered_len`](crate::Transport::buffered_len) counts what is encrypted and unsent too.
//! 4. [`lose_connection`](crate::Transport::lose_connection) sends all that is queued and then a
//!    close_notify, behind which writes are ignored, waits for the peer's, within a time limit, and
//!    ends as [`Done`](crate::Disconnect::Done). Before the handshake is over, and with nothing
//!    queued, it aborts. [`abort_connection`](crate::Transport::abort_connection) sends nothing.
//! 5. A peer's close_notify is the end of its stream, as the end of a TCP stream is elsewhere: with
//!    [`half_close`](crate::Protocol::half_close) and TLS 1.3 writing goes on; otherwise what is
//!    queued is sent, with a close_notify, and the connection is [`Done`](crate::Disconnect::Done).
//! 6. The end of the stream *without* a close_notify may be somebody's who cut it: the connection
//!    is [lost](crate::Disconnect::Lost) ([`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof)).
//!
//! # Examples
//!
//! Both sides in one reactor, over a certificate of their own:
//!
//! ```
//! use ropewalk::tls::{Identity, Roots, TlsClient, TlsServer};
//! use ropewalk::{Protocol, Reactor, Transport};
//!
//! struct Server;
//!
//! impl Protocol for Server {
//!     fn data_received(&mut self, transport: &Transport, data: &[u8]) {
//!         transport.write(data);
//!     }
//! }
//!
//! struct Client(Reactor);
//!
//! impl Protocol for Client {
//!     fn handshake_completed(&mut self, transport: &Transport) {
//!         let tls = transport.tls().expect("this connection speaks TLS");
//!         assert_eq!(tls.alpn_protocol.as_deref(), Some(&b"echo"[..]));
//!         transport.write(b"hello");
//!     }
//!
//!     fn data_received(&mut self, _: &Transport, data: &[u8]) {
//!         assert_eq!(data, b"hello");
//!         self.0.stop().expect("running");
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
//! let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
//! let identity = Identity::from_pem(&certificate, &key)?;
//! let server = TlsServer::builder(identity).alpn(["echo"]).build()?;
//! let client = TlsClient::builder().roots(Roots::from_pem(&certificate)?).alpn(["echo"]).build()?;
//!
//! let reactor = Reactor::new()?;
//! let port = reactor.listen_tls("127.0.0.1:0", &server, |_peer| Server)?;
//! let handle = reactor.clone();
//! let factory = client.factory("localhost", move |_peer| Client(handle.clone()))?;
//! reactor.connect_tcp(port.local_addr().to_string(), factory)?;
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```

mod client;
mod dangerous;
mod error;
mod handle;
mod identity;
mod info;
mod pem;
mod provider;
mod reactor;
mod roots;
mod secured;
mod server;
mod settings;
mod start;

pub use client::{ClientBuilder, TlsClient};
pub use error::{ConfigError, Fault};
pub use identity::{Identities, Identity};
pub use info::TlsInfo;
pub use roots::Roots;
pub use ropewalk_proto::tls::{CertificateProblem, TlsError};
/// The implementation of the protocol, in the version that this crate's types take.
pub use rustls;
pub use secured::{Secured, TlsFactory};
pub use server::{ClientCertificates, ServerBuilder, TlsServer};
pub use settings::Version;

pub(crate) use settings::Limits;
pub(crate) use start::{Role, Start};
