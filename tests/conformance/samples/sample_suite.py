"""Tests that end in every way, for the tests of the conformance run itself."""

import os
import signal
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase


class Ends(TestCase):
    def test_passes(self):
        done = Deferred()
        reactor.callLater(0, done.callback, None)
        return done

    def test_fails(self):
        self.assertEqual(1, 2)

    def test_errs(self):
        raise ValueError("on purpose")

    def test_skips(self):
        raise SkipTest("on purpose")

    def test_fails_and_is_unclean(self):
        reactor.callLater(1000, lambda: None)
        self.fail("on purpose")


class Hangs(TestCase):
    def test_a_before(self):
        pass

    def test_b_hangs(self):
        time.sleep(1000)

    def test_c_after(self):
        pass


class Dies(TestCase):
    def test_a_before(self):
        pass

    def test_b_dies(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def test_c_after(self):
        pass
