"""More clients than descriptors: run under `prlimit --nofile`."""

import os
import socket
import subprocess
import sys
import time

from scenario import Recorder, Scenario, factory_of

CLIENTS = 200

# The clients are another process, with descriptors of its own. It connects all of them, says so,
# and at each line read says how many are still connected; the last line ends it.
CLIENT_PROGRAM = f"""
import select, socket, sys
peers = []
for _ in range({CLIENTS}):
    peer = socket.socket()
    peer.connect(("127.0.0.1", int(sys.argv[1])))
    peers.append(peer)
print("connected", flush=True)
for line in sys.stdin:
    poller = select.poll()
    for peer in peers:
        poller.register(peer, select.POLLIN)
    closed = {{fd for fd, _ in poller.poll(0)}}
    print(len(peers) - len(closed), flush=True)
"""


class Quiet(Recorder):
    """Records nothing: which connections are accepted is chance."""

    def connectionMade(self):
        pass

    def connectionLost(self, reason):
        self.reason = reason


async def main(scenario):
    factory = factory_of(lambda: Quiet(scenario))
    port = scenario.listen(factory, backlog=CLIENTS)
    number = str(port.getHost().port)
    clients = subprocess.Popen(
        ["prlimit", "--nofile=1024:", sys.executable, "-c", CLIENT_PROGRAM, number],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    os.set_blocking(clients.stdout.fileno(), False)

    async def answer():
        lines = []
        await scenario.until(lambda: lines.append(clients.stdout.readline()) or lines[-1])
        return lines[-1].strip()

    scenario.record("clients", await answer())

    def alive():
        return [p for p in factory.built if p.transport and not p.reason]

    await scenario.sleep(0.3)
    held = len(alive())
    scenario.record("accepted some", 10 < held < CLIENTS)
    clients.stdin.write("count\n")
    scenario.record("the rest was closed", int(await answer()) == held)

    # While the table is full the reactor does not spin.
    used = time.process_time()
    await scenario.sleep(1.0)
    scenario.figures["cpu_seconds_while_full"] = time.process_time() - used

    # What was accepted still works, and so does the port once descriptors are free.
    for protocol in alive():
        protocol.transport.loseConnection()
    await scenario.until(lambda: not alive())
    scenario.record("held connections closed", not alive())
    clients.stdin.close()
    clients.wait(timeout=10)
    clients.stdout.close()
    with socket.create_connection(("127.0.0.1", port.getHost().port)) as peer:
        peer.sendall(b"hello")
        scenario.record(
            "accepts again",
            await scenario.until(lambda: alive() and alive()[-1].received == 5),
        )
    await scenario.until(lambda: not alive())
    await scenario.stop(port)


scenario = Scenario()
scenario.run(main)
