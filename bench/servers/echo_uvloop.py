"""A server of asyncio protocols, without Twisted: echo_uvloop.py PORT [echo|sink|source].

It runs on uvloop; with the loop's name as third argument, ``asyncio``, on asyncio's own loop.
"""

import asyncio
import resource
import sys

CHUNK = b"x" * 65536


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
        # As Twisted's pull producers: the next chunk when the one before is sent.
        transport.set_write_buffer_limits(high=0)
        self.resume_writing()

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        # A chunk that goes out at once does not pause: then give others a turn.
        self.transport.write(CHUNK)
        if not self.paused and not self.transport.is_closing():
            asyncio.get_running_loop().call_soon(self.resume_writing)


MODES = {"echo": Echo, "sink": Sink, "source": Source}


async def main(port, protocol):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", port, backlog=1024)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
protocol = MODES[sys.argv[2] if len(sys.argv) > 2 else "echo"]
coroutine = main(int(sys.argv[1]), protocol)
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
