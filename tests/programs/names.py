"""A name server of Twisted's over UDP and TCP, on the reactor named as the argument.

It prints its port and serves until it is ended.
"""

import sys

from twisted.application.reactors import installReactor

ZONE = b"example.com"


def main() -> None:
    reactor = installReactor(sys.argv[1])
    # These import the reactor.
    from twisted.internet.error import CannotListenError
    from twisted.names import authority, dns, server

    class Zone(authority.FileAuthority):
        def loadFile(self, filename: str) -> None:
            start = dns.Record_SOA(b"ns.example.com", b"root.example.com", serial=1, ttl=60)
            self.soa = ZONE, start
            self.records = {
                ZONE: [start, dns.Record_NS(b"ns.example.com")],
                b"www.example.com": [dns.Record_A("192.0.2.1"), dns.Record_AAAA("2001:db8::1")],
                # An answer of fourteen kilobytes.
                b"many.example.com": [dns.Record_TXT(b"%03d" % n * 20) for n in range(200)],
            }

    factory = server.DNSServerFactory([Zone("")])
    datagrams = dns.DNSDatagramProtocol(factory)
    while True:
        listener = reactor.listenTCP(0, factory, interface="127.0.0.1")
        number = listener.getHost().port
        try:
            reactor.listenUDP(number, datagrams, interface="127.0.0.1", maxPacketSize=512)
            break
        except CannotListenError:
            listener.stopListening()
    print(number, flush=True)
    reactor.run()


main()
