"""Wrong arguments to a transport, and calls at the wrong time."""

from scenario import Recorder, Scenario, connect, factory_of


class Producer:
    def __init__(self, scenario):
        self.scenario = scenario

    def __repr__(self):
        return "<Producer>"

    def __getattr__(self, name):
        return lambda: self.scenario.record("producer", name)


async def main(scenario):
    factory = factory_of(lambda: Recorder(scenario))
    port = scenario.listen(factory)
    with connect(port) as peer:
        await scenario.until(lambda: factory.built and factory.built[0].transport)
        server = factory.built[0]
        transport = server.transport
        attempt = scenario.attempt
        for label, data in [
            ("text", "text"),
            ("None", None),
            ("number", 5),
            ("bytearray", bytearray(b"four")),
            ("memoryview", memoryview(b"four")),
            ("empty", b""),
        ]:
            attempt(f"write {label}", transport.write, data)
        for label, data in [
            ("text", ["text"]),
            ("None", None),
            ("nested", [[b"x"]]),
            ("tuple", (b"ab", b"cd")),
            ("empty", []),
        ]:
            attempt(f"writeSequence {label}", transport.writeSequence, data)
        attempt("no argument", transport.write)
        attempt("setTcpNoDelay", transport.setTcpNoDelay, "yes")
        attempt("setTcpKeepAlive", transport.setTcpKeepAlive, None)
        first, second = Producer(scenario), Producer(scenario)
        attempt("push producer", transport.registerProducer, first, True)
        attempt("second producer", transport.registerProducer, second, True)
        attempt("unregister", transport.unregisterProducer)
        attempt("unregister twice", transport.unregisterProducer)
        attempt("pause", transport.pauseProducing)
        attempt("pause twice", transport.pauseProducing)
        attempt("resume", transport.resumeProducing)
        attempt("resume twice", transport.resumeProducing)
        attempt("lose", transport.loseConnection)
        attempt("lose twice", transport.loseConnection)
        attempt("write after lose", transport.write, b"tail")
        attempt("producer after lose", transport.registerProducer, first, True)
        attempt("unregister after lose", transport.unregisterProducer)
        scenario.record("peer", await scenario.end_of(peer))
    await scenario.until(lambda: server.reason)
    attempt("write after loss", transport.write, b"x")
    attempt("write text after loss", transport.write, "x")
    attempt("writeSequence after loss", transport.writeSequence, [b"x"])
    attempt("lose after loss", transport.loseConnection)
    attempt("abort after loss", transport.abortConnection)
    attempt("pause after loss", transport.pauseProducing)
    attempt("resume after loss", transport.resumeProducing)
    attempt("producer after loss", transport.registerProducer, first, True)
    attempt("fileno after loss", lambda: transport.fileno() == -1)
    attempt("peer after loss", transport.getPeer)
    await scenario.stop(port)
    attempt("stopListening twice", port.stopListening)
    attempt("startListening again", port.startListening)
    scenario.name(port.getHost().port, "PORT")
    await scenario.stop(port)


scenario = Scenario()
scenario.run(main)
