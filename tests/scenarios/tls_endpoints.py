"""TLS through endpoints: records are moved natively whichever of them makes the connection."""

import os
import tempfile

from scenario import Recorder, Scenario, factory_of
from tls_peers import for_client, pem
from twisted.internet import ssl
from twisted.internet.endpoints import (
    SSL4ClientEndpoint,
    TCP4ClientEndpoint,
    connectProtocol,
    serverFromString,
    wrapClientTLS,
)
from twisted.logger import globalLogPublisher
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site

WORDS = (b"one", b"two", b"three")


class Echo(Recorder):
    def connectionMade(self):
        """When, compared with the client's, is nobody's promise."""

    def dataReceived(self, data):
        super().dataReceived(data)
        self.transport.write(data)


class Client(Recorder):
    def __init__(self, scenario):
        super().__init__(scenario, "client")
        self.data = b""

    def dataReceived(self, data):
        super().dataReceived(data)
        self.data += data


class Page(Resource):
    isLeaf = True

    def render_POST(self, request):
        return request.content.read()


def native(layer):
    return getattr(layer.transport, "_tlsRecords", None) is not None


async def case(name, listening, endpoint, prepare=lambda layer: None):
    scenario.record(f"-- {name}")
    factory = factory_of(lambda: Echo(scenario))
    port = await listening.listen(factory)
    client = await connectProtocol(endpoint(port.getHost().port), Client(scenario))
    prepare(client.transport)
    for word in WORDS:
        client.transport.write(word)
        await scenario.until(lambda word=word: word in client.data)
    scenario.record("echoed", client.data)
    server = factory.built[0]
    scenario.figures[name] = [native(server.transport), native(client.transport)]
    client.transport.loseConnection()
    await scenario.until(lambda: server.reason and client.reason)
    await scenario.stop(port)


async def agent(listening, authority):
    """A request to a web server and its answer, both of a megabyte."""
    scenario.record("-- agent")
    site = Site(Page())
    site.noisy = False
    port = await listening.listen(site)
    policy = BrowserLikePolicyForHTTPS(trustRoot=authority)
    made = []

    class Producer:
        length = 1 << 20

        def startProducing(self, consumer):
            made.append(consumer)
            consumer.write(b"b" * self.length)
            from twisted.internet.defer import succeed

            return succeed(None)

        def stopProducing(self):
            pass

        pauseProducing = resumeProducing = stopProducing

    url = b"https://localhost:%d/" % port.getHost().port
    response = await Agent(scenario.reactor, policy).request(b"POST", url, None, Producer())
    body = await readBody(response)
    scenario.record("answered", response.code, len(body), len(made))
    await scenario.stop(port)


def keeps_own_method(layer):
    """Whoever is between the connection and TLS does something with the data."""
    below = layer.transport
    outermost = below.protocol
    receive = outermost.dataReceived
    outermost.dataReceived = lambda data: receive(data)


async def main(_):
    reactor = scenario.reactor
    reasons = []

    def observe(event):
        if event["log_namespace"] == "ropewalk._tls":
            reasons.append(event["reason"])

    globalLogPublisher.addObserver(observe)
    with tempfile.TemporaryDirectory() as directory:
        key = os.path.join(directory, "key.pem")
        text = pem("localhost")
        with open(key, "wb") as file:
            file.write(text)
        authority = ssl.Certificate.loadPEM(text)
        context = for_client(authority)
        listening = serverFromString(
            reactor, f"ssl:0:privateKey={key}:certKey={key}:interface=127.0.0.1"
        )

        def wrapping(port):
            return wrapClientTLS(context, TCP4ClientEndpoint(reactor, "127.0.0.1", port))

        def plain(port):
            return SSL4ClientEndpoint(reactor, "127.0.0.1", port, context)

        await case("wrapClientTLS", listening, wrapping)
        await case("SSL4ClientEndpoint", listening, plain)
        await case("with a method in between", listening, wrapping, keeps_own_method)
        await agent(listening, authority)
    scenario.figures["reasons"] = reasons


scenario = Scenario()
scenario.run(main)
