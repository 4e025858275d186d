"""UDP ports: Twisted's classes with a native base in front of them.

Receiving and sending are native (:class:`ropewalk._ropewalk.Datagram`); binding, connecting,
multicast groups and closing are inherited from :mod:`twisted.internet.udp`.
"""

from __future__ import annotations

from twisted.internet import udp

from ropewalk import _ropewalk

__all__ = ["MulticastPort", "Port"]


class Port(_ropewalk.Datagram, udp.Port):
    """A UDP port."""


class MulticastPort(Port, udp.MulticastPort):
    """A UDP port that can be a member of multicast groups."""
