//! Connections that do nothing.

use crate::net::Server;
use crate::stream::{Dialer, Stream};
use crate::{Options, Result};

/// Opens connections, and sees an echo from every 500th and the last: the server has accepted all
/// before it then, and its queue of connections never overflows. With TLS, an echo from each shows
/// that its handshake is over.
pub(crate) fn hold(options: &Options) -> Result<Vec<Stream>> {
    let mut dialer = Dialer::new(options, false)?;
    let secure = matches!(options.server, Server::Tls(_));
    let mut held = Vec::with_capacity(options.connections);
    for number in 0..options.connections {
        let mut stream = dialer.open(0, true)?;
        if secure || number % 500 == 499 || number + 1 == options.connections {
            let mut answer = [0];
            stream.send(b"?")?;
            if stream.recv(&mut answer)? != 1 || answer != *b"?" {
                return Err("the server does not echo".into());
            }
        }
        stream.check()?;
        held.push(stream);
    }
    Ok(held)
}
