"""A Twisted web server with aiohttp's and Twisted's clients, all in one thread and one loop."""

from __future__ import annotations

import hashlib

from asyncio_support import install, report

loop = install()

import aiohttp  # noqa: E402
from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import Deferred, gatherResults  # noqa: E402
from twisted.internet.task import deferLater  # noqa: E402
from twisted.python.failure import Failure  # noqa: E402
from twisted.web.client import Agent, HTTPConnectionPool, readBody  # noqa: E402
from twisted.web.resource import Resource  # noqa: E402
from twisted.web.server import NOT_DONE_YET, Site  # noqa: E402

BODY = bytes(range(256)) * 1024
EACH = 100


class Large(Resource):
    isLeaf = True

    def render_GET(self, request):
        return BODY


class Slow(Resource):
    """Answers when an asyncio coroutine says so."""

    isLeaf = True

    def render_GET(self, request):
        import asyncio

        def answer(text: str) -> None:
            request.write(text.encode())
            request.finish()

        async def think() -> str:
            await asyncio.sleep(0.001)
            return "thought"

        Deferred.fromCoroutine(as_deferred(think())).addCallback(answer)
        return NOT_DONE_YET


async def as_deferred(coroutine):
    return await Deferred.fromFuture(loop.create_task(coroutine))


root = Resource()
root.putChild(b"large", Large())
root.putChild(b"slow", Slow())
site = Site(root)
site.noisy = False
port = reactor.listenTCP(0, site, interface="127.0.0.1")
url = f"http://127.0.0.1:{port.getHost().port}"


async def by_aiohttp() -> list[str]:
    import asyncio

    async with aiohttp.ClientSession() as session:

        async def fetch(path: str) -> str:
            async with session.get(url + path) as response:
                return hashlib.sha256(await response.read()).hexdigest()

        paths = ["/large", "/slow"] * EACH
        found = await asyncio.gather(*map(fetch, paths))
        # A Deferred of Twisted's, awaited in a coroutine of asyncio's.
        found.append(await deferLater(reactor, 0.001, lambda: "later").asFuture(loop))
        return found


def by_twisted() -> Deferred[list[str]]:
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = 4
    agent = Agent(reactor, pool=pool)

    async def fetch(path: str) -> str:
        response = await agent.request(b"GET", (url + path).encode())
        return hashlib.sha256(await readBody(response)).hexdigest()

    async def fetch_all() -> list[str]:
        paths = ["/large", "/slow"] * EACH
        found = await gatherResults([Deferred.fromCoroutine(fetch(path)) for path in paths])
        await pool.closeCachedConnections()
        return found

    return Deferred.fromCoroutine(fetch_all())


def done(results: list[list[str]]) -> None:
    large, slow = (hashlib.sha256(body).hexdigest() for body in (BODY, b"thought"))
    expected = [large, slow] * EACH
    report(
        aiohttp=results[0] == [*expected, "later"],
        twisted=results[1] == expected,
        poller=reactor.poller,
    )


def start() -> None:
    aiohttp_part = Deferred.fromFuture(loop.create_task(by_aiohttp()))
    both = gatherResults([aiohttp_part, by_twisted()])
    both.addCallbacks(done, lambda failure: report(failure=failure.getTraceback()))
    both.addErrback(Failure.printTraceback)
    both.addCallback(lambda _: reactor.stop())


reactor.callWhenRunning(start)
reactor.run()
loop.close()
