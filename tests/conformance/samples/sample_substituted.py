"""Imports a reactor class by its name, as Twisted's tests for one reactor do."""

from twisted.internet.epollreactor import EPollReactor
from twisted.trial.unittest import SynchronousTestCase


class Imported(SynchronousTestCase):
    def test_is_ropewalks(self):
        self.assertEqual(EPollReactor.__module__, "ropewalk.epollreactor")
