"""A program that owns the asyncio loop: the reactor is started in it and lives by it alone."""

from __future__ import annotations

import asyncio

from asyncio_support import new_loop, report

from ropewalk.asyncioreactor import AsyncioSelectorReactor, install

loop = new_loop()
asyncio.set_event_loop(loop)
events: list[object] = []


async def main() -> None:
    # The running loop is taken without being named.
    install()
    from twisted.internet import reactor
    from twisted.internet.asyncioreactor import AsyncioSelectorReactor as TwistedsClass
    from twisted.internet.protocol import Factory, Protocol
    from twisted.internet.task import deferLater
    from twisted.internet.threads import deferToThread

    events.append(reactor._asyncioEventloop is loop)
    events.append(type(reactor) is AsyncioSelectorReactor and isinstance(reactor, TwistedsClass))
    reactor.startRunning(installSignalHandlers=False)
    events.append(await deferLater(reactor, 0.01, lambda: "timer").asFuture(loop))
    events.append(await deferToThread(lambda: "thread").asFuture(loop))

    class Greeter(Protocol):
        def connectionMade(self) -> None:
            greeters.append(self.transport)

    greeters: list = []
    factory = Factory.forProtocol(Greeter)
    factory.noisy = False
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    reader, writer = await asyncio.open_connection("127.0.0.1", port.getHost().port)
    while not greeters:
        await asyncio.sleep(0.001)
    # Written by asyncio's code, between two turns of the reactor.
    greeters[0].write(b"hello\n")
    events.append((await reader.readline()).decode())
    greeters[0].loseConnection()
    events.append((await reader.read()).decode())
    writer.close()
    await port.stopListening().asFuture(loop)
    # What is left to do is done although nobody waits for it.
    stopped = loop.create_future()
    reactor.addSystemEventTrigger("after", "shutdown", stopped.set_result, None)
    reactor.stop()
    await stopped
    events.append(reactor.running)


task = loop.create_task(main())
while not task.done():
    # The last step of the reactor's shutdown stops the loop, as that of Twisted's does.
    loop.run_forever()
    loop.run_until_complete(asyncio.wait({task}))
task.result()
loop.close()
report(events=events)
