//! An echo server over TLS. A certificate that is renewed is shown to the clients to come.
//!
//! ```text
//! cargo run --release --example tls_echo -- cert.pem key.pem 127.0.0.1:8443
//! openssl s_client -connect 127.0.0.1:8443
//! ```

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ropewalk::tls::{Identity, TlsServer};
use ropewalk::{ProducerKind, Protocol, Reactor, Transport};

struct Echo;

impl Protocol for Echo {
    fn connection_made(&mut self, transport: &Transport) {
        // A client that sends and does not read is kept from sending more than fits.
        let registered = transport.register_producer(transport.clone(), ProducerKind::Push);
        registered.expect("a new connection has no producer");
    }

    fn handshake_completed(&mut self, transport: &Transport) {
        let tls = transport.tls().expect("this connection speaks TLS");
        eprintln!("{}: {:?}", transport.peer_addr(), tls.version);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        transport.write(data);
    }
}

/// Where the certificate and its key are.
#[derive(Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn load(&self) -> ropewalk::Result<Identity> {
        Ok(Identity::from_pem_files(&self.certificate, &self.key)?)
    }

    fn changed(&self) -> Option<std::time::SystemTime> {
        std::fs::metadata(&self.certificate).ok()?.modified().ok()
    }
}

/// Looks at the certificate now and then, and shows a new one to clients to come.
fn watch(reactor: &Reactor, tls: TlsServer, files: Files, mut seen: Option<std::time::SystemTime>) {
    reactor.call_later(Duration::from_millis(200), move |reactor| {
        let changed = files.changed();
        if changed != seen {
            let renewed = files.load().and_then(|identity| Ok(tls.reload(identity)?));
            match renewed {
                Ok(()) => {
                    seen = changed;
                    eprintln!("renewed");
                }
                // The key may still be to come. Until then the former certificate stays.
                Err(error) => eprintln!("{error}"),
            }
        }
        watch(reactor, tls, files, seen);
    });
}

fn serve(files: Files, address: &str) -> ropewalk::Result<()> {
    let reactor = Reactor::new()?;
    let seen = files.changed();
    let tls = TlsServer::builder(files.load()?).log_keys().build()?;
    let port = reactor.listen_tls(address, &tls, |_peer| Echo)?;
    println!("listening on {}", port.local_addr());
    watch(&reactor, tls, files, seen);
    reactor.run()
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(certificate), Some(key)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: tls_echo CERTIFICATE KEY [ADDRESS]");
        return ExitCode::from(2);
    };
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:8443".to_owned());
    let files = Files {
        certificate: certificate.into(),
        key: key.into(),
    };
    match serve(files, &address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tls_echo: {error}");
            ExitCode::FAILURE
        }
    }
}
