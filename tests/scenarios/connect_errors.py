"""Connections that cannot be made."""

import socket

from scenario import Recorder, Scenario
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory


class Client(ClientFactory):
    noisy = False

    def __init__(self, scenario, label, done):
        self.scenario = scenario
        self.label = label
        self.done = done

    def startedConnecting(self, connector):
        self.scenario.record(self.label, "startedConnecting", connector.state)

    def buildProtocol(self, address):
        return Recorder(self.scenario, self.label)

    def clientConnectionFailed(self, connector, reason):
        number = getattr(reason.value, "osError", None)
        self.scenario.record(self.label, "failed", connector.state, reason, number)
        self.done.callback(None)

    def clientConnectionLost(self, connector, reason):
        self.scenario.record(self.label, "lost", connector.state, reason)
        self.done.callback(None)


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def main(scenario):
    number = closed_port()
    scenario.name(number, "PORT")
    attempts = [
        ("refused", ["127.0.0.1", number], {}),
        ("refused, IPv6", ["::1", number], {}),
        ("port is an unknown service", ["127.0.0.1", "no-such-service"], {}),
        ("port too big", ["127.0.0.1", 70000], {}),
        ("port negative", ["127.0.0.1", -1], {}),
        ("port is None", ["127.0.0.1", None], {}),
        ("host is None", [None, number], {}),
        ("host is bytes", [b"127.0.0.1", number], {}),
        ("host and port swapped", [number, "127.0.0.1"], {}),
        ("bind to nobody's address", ["127.0.0.1", number], {"bindAddress": ("192.0.2.1", 0)}),
        ("bind to text", ["127.0.0.1", number], {"bindAddress": "127.0.0.1"}),
        ("timeout is None", ["127.0.0.1", number], {"timeout": None}),
        ("timeout is negative", ["127.0.0.1", number], {"timeout": -1}),
        ("timeout is text", ["127.0.0.1", number], {"timeout": "soon"}),
    ]
    for label, args, kw in attempts:
        done = Deferred()

        def silent(*_, label=label):
            scenario.record(label, "silent")

        connector = scenario.attempt(
            label, scenario.reactor.connectTCP, *args, Client(scenario, label, done), **kw
        )
        if connector is not None:
            done.addTimeout(5, scenario.reactor, silent)
            await done
            scenario.attempt("stopConnecting afterwards", connector.stopConnecting)
    done = Deferred()
    connector = scenario.reactor.connectTCP("127.0.0.1", number, Client(scenario, "cut", done))
    connector.stopConnecting()
    await done
    scenario.record("delayed calls left", len(scenario.reactor.getDelayedCalls()))


scenario = Scenario()
scenario.run(main)
