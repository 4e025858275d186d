//! A server of HTTP/1.1 and HTTP/2 over the transports of this crate: `GET /n` brings n bytes.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use ropewalk::{Disconnect, Producer, ProducerKind, Protocol, Reactor, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What was served.
#[derive(Default)]
pub(crate) struct Served {
    pub(crate) connections: Cell<usize>,
    pub(crate) open: Cell<usize>,
    /// How many connections had an answer by HTTP/1.1.
    pub(crate) answered: Cell<usize>,
    pub(crate) http_1: Cell<usize>,
    pub(crate) http_2: Cell<usize>,
    /// How much came with requests of HTTP/2, in bytes.
    pub(crate) bodies: Cell<usize>,
}

fn add(count: &Cell<usize>, number: usize) {
    count.set(count.get() + number);
}

/// One connection.
pub(crate) struct Site {
    reactor: Reactor,
    served: Rc<Served>,
    /// What a request of HTTP/1.1 has so far.
    request: Vec<u8>,
    answered: bool,
    /// What HTTP/2 reads from, once that was agreed on.
    pipe: Option<Rc<Pipe>>,
}

impl Site {
    pub(crate) fn new(reactor: &Reactor, served: &Rc<Served>) -> Self {
        add(&served.connections, 1);
        add(&served.open, 1);
        Self {
            reactor: reactor.clone(),
            served: Rc::clone(served),
            request: Vec::new(),
            answered: false,
            pipe: None,
        }
    }

    fn answer_http_1(&mut self, transport: &Transport, data: &[u8]) {
        self.request.extend_from_slice(data);
        if !self.request.ends_with(b"\r\n\r\n") {
            return;
        }
        let request = String::from_utf8(std::mem::take(&mut self.request)).unwrap();
        let length = page(request.split(' ').nth(1).unwrap());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        add(&self.served.http_1, 1);
        if !self.answered {
            self.answered = true;
            add(&self.served.answered, 1);
        }
        transport.write(head.as_bytes());
        transport.write_bytes(vec![b'p'; length]);
    }
}

/// How long the page at `path` is, in bytes.
fn page(path: &str) -> usize {
    path.trim_start_matches('/').parse().unwrap()
}

impl Protocol for Site {
    fn handshake_completed(&mut self, transport: &Transport) {
        let agreed = transport.tls().unwrap().alpn_protocol;
        if agreed.as_deref() != Some(b"h2") {
            return;
        }
        let pipe = Rc::<Pipe>::default();
        let producer = Rc::clone(&pipe);
        transport
            .register_producer(Pace(producer), ProducerKind::Push)
            .unwrap();
        let stream = Stream(Rc::clone(&pipe), transport.clone());
        self.pipe = Some(pipe);
        let served = Rc::clone(&self.served);
        let task = serve(self.reactor.clone(), stream, served);
        self.reactor.spawn_local(task).ignore();
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        match &self.pipe {
            Some(pipe) => pipe.push(data),
            None => self.answer_http_1(transport, data),
        }
    }

    fn connection_lost(&mut self, _: Disconnect) {
        self.served.open.set(self.served.open.get() - 1);
        if let Some(pipe) = &self.pipe {
            pipe.end();
        }
    }
}

/// Serves HTTP/2 until the client goes away.
async fn serve(reactor: Reactor, stream: Stream, served: Rc<Served>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        add(&served.http_2, 1);
        let task = answer(request, respond, Rc::clone(&served));
        reactor.spawn_local(task).ignore();
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    served: Rc<Served>,
) {
    let length = page(request.uri().path());
    let mut body = request.into_body();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        add(&served.bodies, data.len());
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let mut sender = respond.send_response(Response::new(()), false).unwrap();
    sender
        .send_data(Bytes::from(vec![b'p'; length]), true)
        .unwrap();
}

/// What stands between a protocol and a task.
#[derive(Default)]
struct Pipe {
    received: RefCell<BytesMut>,
    ended: Cell<bool>,
    /// The transport takes no more.
    full: Cell<bool>,
    reader: Cell<Option<Waker>>,
    writer: Cell<Option<Waker>>,
}

impl Pipe {
    fn push(&self, data: &[u8]) {
        self.received.borrow_mut().extend_from_slice(data);
        wake(&self.reader);
    }

    fn end(&self) {
        self.ended.set(true);
        wake(&self.reader);
        wake(&self.writer);
    }
}

fn wake(waker: &Cell<Option<Waker>>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// Has the task write no more than the client takes.
struct Pace(Rc<Pipe>);

impl Producer for Pace {
    fn resume_producing(&self, _: &Transport) {
        self.0.full.set(false);
        wake(&self.0.writer);
    }

    fn pause_producing(&self, _: &Transport) {
        self.0.full.set(true);
    }
}

/// A connection as tasks see one.
struct Stream(Rc<Pipe>, Transport);

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut received = self.0.received.borrow_mut();
        if received.is_empty() && !self.0.ended.get() {
            self.0.reader.set(Some(context.waker().clone()));
            return Poll::Pending;
        }
        let count = received.len().min(buffer.remaining());
        buffer.put_slice(&received[..count]);
        received.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.0.ended.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.0.full.get() {
            self.0.writer.set(Some(context.waker().clone()));
            return Poll::Pending;
        }
        self.1.write(data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1.unregister_producer();
        self.1.lose_connection();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.1.unregister_producer();
        self.1.lose_connection();
    }
}
