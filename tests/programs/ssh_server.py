"""An SSH server of Twisted's whose shell is /bin/sh, on the reactor named as the first argument.

The others are the files of the host's key and of the public key that may log in. It prints its port
and the classes that children are made with, and serves until its input ends.
"""

import sys
from typing import Any

from twisted.application.reactors import installReactor


def main(name: str, host_key: str, user_key: str) -> None:
    reactor = installReactor(name)
    # These import the reactor.
    from twisted.conch import avatar, interfaces
    from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
    from twisted.conch.ssh import factory, keys, session
    from twisted.cred.portal import Portal
    from twisted.internet import protocol, stdio
    from zope.interface import implementer

    @implementer(interfaces.ISession)
    class Shell:
        def __init__(self, user: "User") -> None:
            self.terminal: Any = None
            self.child: Any = None

        def getPty(self, term: bytes, size: tuple[int, ...], modes: Any) -> None:
            self.terminal = size

        def openShell(self, proto: Any) -> None:
            self.spawn(proto, ["sh", "-i"])

        def execCommand(self, proto: Any, command: bytes) -> None:
            self.spawn(proto, ["sh", "-c", command])

        def spawn(self, proto: Any, arguments: list[Any]) -> None:
            environment = {"PATH": "/usr/bin:/bin", "PS1": "$ ", "TERM": "dumb"}
            self.child = reactor.spawnProcess(
                proto, "/bin/sh", arguments, environment, usePTY=self.terminal is not None
            )
            if self.terminal is not None:
                self.windowChanged(self.terminal)
            print(type(self.child).__module__, flush=True)

        def windowChanged(self, size: tuple[int, ...]) -> None:
            import fcntl
            import struct
            import termios

            fcntl.ioctl(self.child.fileno(), termios.TIOCSWINSZ, struct.pack("4H", *size))

        def eofReceived(self) -> None:
            self.child.closeStdin()

        def closed(self) -> None:
            pass

    class User(avatar.ConchUser):
        def __init__(self) -> None:
            super().__init__()
            self.channelLookup[b"session"] = session.SSHSession

    class Realm:
        def requestAvatar(self, who: bytes, mind: Any, *wanted: Any) -> Any:
            return wanted[0], User(), lambda: None

    class Server(factory.SSHFactory):
        portal = Portal(
            Realm(),
            [SSHPublicKeyChecker(InMemorySSHKeyDB({b"alice": [keys.Key.fromFile(user_key)]}))],
        )

        def getPrivateKeys(self) -> dict[bytes, Any]:
            return {b"ssh-ed25519": keys.Key.fromFile(host_key)}

        def getPublicKeys(self) -> dict[bytes, Any]:
            return {b"ssh-ed25519": keys.Key.fromFile(host_key).public()}

        def getPrimes(self) -> None:
            return None

    class Input(protocol.Protocol):
        def connectionLost(self, reason: Any = None) -> None:
            reactor.stop()

    from twisted.python.components import registerAdapter

    registerAdapter(Shell, User, interfaces.ISession)
    port = reactor.listenTCP(0, Server(), interface="127.0.0.1")
    stdio.StandardIO(Input(), reactor=reactor)
    print(port.getHost().port, flush=True)
    reactor.run()


main(*sys.argv[1:])
