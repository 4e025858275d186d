"""A server of asyncio protocols, without Twisted: echo_uvloop.py PORT MODE.

MODE is echo (the default), sink, source, writes, unix (echo at a path), udp (echo) or udp-count.
With ``tls-`` before one of the first four, it is served over TLS; the certificate and its key are
in the PEM file that the environment's BENCH_CERTIFICATE names.

It runs on uvloop; with the loop's name as third argument, ``asyncio``, on asyncio's own loop.
"""

import asyncio
import os
import resource
import sys
import tempfile

CHUNK = b"x" * 65536
PIECES = [b"%09d\n" % number for number in range(1000)]


class Echo(asyncio.Protocol):
    """asyncio sets TCP_NODELAY by itself."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Sink(asyncio.Protocol):
    pass


class Source(asyncio.Protocol):
    """Sends until the peer closes."""

    def connection_made(self, transport):
        self.transport = transport
        self.paused = False
        # As Twisted's pull producers: the next chunk when the one before is sent. With a limit of
        # 0, a TLS transport would pause for good.
        transport.set_write_buffer_limits(high=1)
        self.resume_writing()

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        # A chunk that goes out at once does not pause: then give others a turn.
        self.transport.write(CHUNK)
        if not self.paused and not self.transport.is_closing():
            asyncio.get_running_loop().call_soon(self.resume_writing)


class Writes(Echo):
    """Answers a question, which is short enough to come whole, with many small writes."""

    def data_received(self, data):
        write = self.transport.write
        for piece in PIECES:
            write(piece)


class UDPEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


class UDPCount(UDPEcho):
    """Counts datagrams, and answers ``?`` with their number."""

    count = 0

    def datagram_received(self, data, addr):
        if data == b"?":
            self.transport.sendto(str(self.count).encode(), addr)
        else:
            self.count += 1


def context():
    # Only TLS needs it, and a Python may be without.
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["BENCH_CERTIFICATE"])
    return context


async def listen(mode, port):
    """Serve in that mode; where the server is, for the client."""
    loop = asyncio.get_running_loop()
    if mode in DATAGRAMS:
        local = ("127.0.0.1", port)
        transport, _ = await loop.create_datagram_endpoint(DATAGRAMS[mode], local_addr=local)
        return f"udp:127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    if mode == "unix":
        path = os.path.join(tempfile.mkdtemp(prefix="ropewalk-bench-"), "socket")
        kept.append(await loop.create_unix_server(STREAMS[mode], path, backlog=1024))
        return f"unix:{path}"
    _, secure, mode = mode.rpartition("tls-")
    options = {"backlog": 1024, "ssl": context() if secure else None}
    server = await loop.create_server(STREAMS[mode], "127.0.0.1", port, **options)
    kept.append(server)
    return f"{'tls:' if secure else ''}127.0.0.1:{server.sockets[0].getsockname()[1]}"


kept = []
STREAMS = {"echo": Echo, "sink": Sink, "source": Source, "writes": Writes, "unix": Echo}
DATAGRAMS = {"udp": UDPEcho, "udp-count": UDPCount}


async def main(port, mode):
    print(f"listening on {await listen(mode, port)}", flush=True)
    await asyncio.get_running_loop().create_future()


_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
coroutine = main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "echo")
if len(sys.argv) > 3 and sys.argv[3] == "asyncio":
    asyncio.run(coroutine)
else:
    import uvloop

    if sys.version_info >= (3, 11):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(coroutine)
    else:
        uvloop.install()
        asyncio.run(coroutine)
