"""A reactor for Twisted programs, native where it runs per event.

``ropewalk.install()`` makes it the global reactor; it must come before anything imports
``twisted.internet.reactor``.
"""

from ropewalk._ropewalk import __version__

__all__ = ["__version__", "install"]


def install() -> None:
    """Install the reactor on the best poller of this platform as Twisted's global reactor."""
    # Importing a reactor's module imports much of Twisted; importing ropewalk should not.
    from ropewalk.default import install

    install()
