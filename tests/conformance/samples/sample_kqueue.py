"""Tests that pass where there is a kqueue, here and in processes that a test starts."""

import sys

from twisted.internet import reactor
from twisted.internet.utils import getProcessValue
from twisted.trial.unittest import TestCase


class Kqueue(TestCase):
    def test_is_what_the_installed_reactor_waits_in(self):
        self.assertEqual(type(reactor).__name__, "KQueueReactor")

    def test_is_in_children(self):
        code = "from twisted.internet.kqreactor import install; install()"
        environment = {"PYTHONPATH": ":".join(sys.path)}
        ended = getProcessValue(sys.executable, ["-c", code], environment)
        return ended.addCallback(self.assertEqual, 0)
