"""Ports that cannot be had: in use, on a bad interface, or of a wrong type."""

import socket

from scenario import Recorder, Scenario, factory_of


async def main(scenario):
    listen = scenario.reactor.listenTCP
    factory = factory_of(lambda: Recorder(scenario))
    taken = scenario.listen(factory)
    number = taken.getHost().port
    attempts = [
        ("in use", [number, factory], {"interface": "127.0.0.1"}),
        ("malformed interface", [0, factory], {"interface": "999.1.1.1"}),
        ("interface of nobody", [0, factory], {"interface": "192.0.2.1"}),
        ("interface of wrong family", [0, factory], {"interface": "2001:db8::1"}),
        ("interface is a number", [0, factory], {"interface": 12}),
        ("interface is bytes", [0, factory], {"interface": b"127.0.0.1"}),
        ("interface is None", [0, factory], {"interface": None}),
        ("port is text", ["http-alternative", factory], {"interface": "127.0.0.1"}),
        ("port is None", [None, factory], {"interface": "127.0.0.1"}),
        ("port is a float", [1.5, factory], {"interface": "127.0.0.1"}),
        ("port too big", [70000, factory], {"interface": "127.0.0.1"}),
        ("port negative", [-1, factory], {"interface": "127.0.0.1"}),
        ("port huge", [2**70, factory], {"interface": "127.0.0.1"}),
        ("backlog is text", [0, factory], {"interface": "127.0.0.1", "backlog": "many"}),
        ("no factory", [0], {}),
        ("too many arguments", [0, factory, 50, "127.0.0.1", None, None], {}),
        ("unknown argument", [0, factory], {"iface": "127.0.0.1"}),
    ]
    for label, args, kw in attempts:
        port = scenario.attempt(label, listen, *args, **kw)
        if port is not None:
            await scenario.stop(port)
    await scenario.stop(taken)
    scenario.attempt("factory is None", listen, 0, None, interface="127.0.0.1")

    adopt = scenario.reactor.adoptStreamPort
    scenario.attempt("adopt a closed descriptor", adopt, 999, socket.AF_INET, factory)
    scenario.attempt("adopt a negative descriptor", adopt, -1, socket.AF_INET, factory)
    connection = scenario.reactor.adoptStreamConnection
    scenario.attempt("adopt as a strange family", connection, 0, 77, factory)
    with open("/dev/null") as file:
        scenario.attempt("adopt a file", adopt, file.fileno(), socket.AF_INET, factory)


scenario = Scenario()
scenario.run(main)
