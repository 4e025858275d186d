//! Connections, with and without TLS.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::net::{self, Server};
use crate::tls::{Connector, TlsStream};
use crate::{Options, Result};

/// Opens connections to one server.
pub(crate) struct Dialer<'a> {
    server: &'a Server,
    connector: Option<Connector>,
    opened: usize,
}

impl<'a> Dialer<'a> {
    /// With `resume`, connections of one slot resume the TLS session of the one before.
    pub(crate) fn new(options: &'a Options, resume: bool) -> Result<Self> {
        let connector = match (&options.server, &options.certificate) {
            (Server::Tls(_), Some(path)) => Some(Connector::new(path, resume)?),
            (Server::Tls(_), None) => return Err("TLS needs --certificate".into()),
            _ if resume => return Err("only TLS has sessions to resume".into()),
            _ => None,
        };
        Ok(Self {
            server: &options.server,
            connector,
            opened: 0,
        })
    }

    /// A connection; its TLS handshake begins with the first use.
    pub(crate) fn open(&mut self, slot: usize, blocking: bool) -> Result<Stream> {
        let socket = net::connect(self.server, self.opened)?;
        self.opened += 1;
        if !blocking {
            net::set_nonblocking(&socket)?;
        }
        Ok(match &mut self.connector {
            Some(connector) => Stream::Tls(Box::new(connector.open(socket, slot)?)),
            None => Stream::Plain(socket),
        })
    }
}

pub(crate) enum Stream {
    Plain(OwnedFd),
    Tls(Box<TlsStream>),
}

impl Stream {
    pub(crate) fn send(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => Ok(send(socket, data, SendFlags::NOSIGNAL)?),
            Self::Tls(stream) => stream.send(data),
        }
    }

    /// 0 at the end of what the server sends.
    pub(crate) fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => Ok(recv(socket, buffer, RecvFlags::empty())?.0),
            Self::Tls(stream) => stream.recv(buffer),
        }
    }

    /// Waits for the end of the handshake, if there is one; only on a blocking connection.
    pub(crate) fn shake_hands(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.shake_hands(),
        }
    }

    /// Whether what `send` took has still to be sent.
    pub(crate) fn is_pending(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.is_pending(),
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match self {
            Self::Plain(socket) => shutdown(socket, Shutdown::Write)?,
            Self::Tls(stream) => stream.finish()?,
        }
        Ok(())
    }

    /// Fails when a TLS handshake was another than was meant.
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.check(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
            Self::Tls(stream) => stream.as_fd(),
        }
    }
}
