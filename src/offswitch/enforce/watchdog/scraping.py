"""Serving the gateway's numbers to Prometheus, on the host's side.

By hand and not by a server of its own, so that what a scraper can take is bounded by what stands here: so many
connections at once, so many a second, so many bytes and seconds each. What is more waits in the kernel's queue, and
is turned away there. Neither a call nor a trip waits for any of it.
"""

import asyncio
import socket
from contextlib import suppress

from offswitch.enforce.watchdog import listening
from offswitch.enforce.watchdog.metrics import CONTENT_TYPE, Metrics

PATH = "/metrics"
MOST = 16
"""Most connections at once."""
PACE = 0.1
"""Seconds from one connection to the next."""
PATIENCE = 5.0
"""Seconds that a scraper has in all: to ask, to read the answer and to hang up."""

_END = b"\r\n\r\n"
_LARGEST = 8 << 10
_PIECES = 32
"""Most pieces in which a request is taken: one that comes byte by byte would cost as much as many."""
_WAITING = 16
_BAD_REQUEST = 400
_STATUS = {
    200: "OK",
    _BAD_REQUEST: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
}


def begin(address: str, agent: str, run: str = "") -> "Scraping":
    """Begin to count, and listen.

    Args:
        address: ``HOST:PORT``; port 0 for any that is free.
        agent: The agent's name.
        run: The run.

    Raises:
        MetricsError: The client for Prometheus will not do.
        ListenError: The address cannot be listened on.
    """
    metrics = Metrics(agent, run)
    # What it loads when it is first used is loaded now: afterwards this user may not be allowed to.
    metrics.text()
    try:
        return Scraping(listening.listen(address, _WAITING), metrics)
    except listening.ListenError as error:
        raise listening.ListenError(f"metrics: {error}") from None


class Scraping:
    """Answers ``GET /metrics``.

    Args:
        listener: The socket, listening.
        metrics: The numbers.

    Attributes:
        metrics: Likewise.
        address: Where it listens, as ``HOST:PORT``.
    """

    def __init__(self, listener: socket.socket, metrics: Metrics) -> None:
        self._listener = listener
        self._listener.setblocking(False)
        self._scrapes: set[asyncio.Task[None]] = set()
        self.metrics = metrics
        self.address = listening.taken(listener)

    async def serve(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                if len(self._scrapes) < MOST:
                    # With no file left for one more, there may be one later.
                    with suppress(OSError):
                        connection, _ = await loop.sock_accept(self._listener)
                        connection.setblocking(False)
                        scrape = asyncio.create_task(self._scrape(connection))
                        self._scrapes.add(scrape)
                        scrape.add_done_callback(self._scrapes.discard)
                await asyncio.sleep(PACE)
        finally:
            self._listener.close()
            for scrape in self._scrapes:
                scrape.cancel()

    async def _scrape(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with connection, suppress(OSError):
            async with asyncio.timeout(PATIENCE):
                head = b""
                for _ in range(_PIECES):
                    head += await loop.sock_recv(connection, _LARGEST)
                    if _END in head or len(head) > _LARGEST:
                        break
                await loop.sock_sendall(connection, await self._answer(head))
                connection.shutdown(socket.SHUT_WR)
                # To close while it still says something would take the answer back.
                for _ in range(_PIECES):
                    if not await loop.sock_recv(connection, _LARGEST):
                        break

    async def _answer(self, head: bytes) -> bytes:
        method, status = _asked(head)
        body = f"{status} {_STATUS[status]}: GET {PATH} is all there is\n".encode()
        if status == 200:
            body = b""
            for piece in self.metrics.pieces():
                body += piece
                await asyncio.sleep(0)
        lines = [
            f"HTTP/1.1 {status} {_STATUS[status]}",
            f"Content-Type: {CONTENT_TYPE if status == 200 else 'text/plain; charset=utf-8'}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(["Allow: GET"] if status == 405 else []),
        ]
        # The answer to HEAD has no body, whatever its length says (RFC 9110, 9.3.2).
        return "\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body)


def _asked(head: bytes) -> tuple[str, int]:
    """The method of a request, and the status of its answer."""
    end = head.find(_END)
    if end < 0:
        return "", 431 if len(head) > _LARGEST else _BAD_REQUEST
    words = head[:end].partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return "", _BAD_REQUEST
    method, target, _ = words
    if target.partition("?")[0] != PATH:
        return method, 404
    return method, 200 if method == "GET" else 405
