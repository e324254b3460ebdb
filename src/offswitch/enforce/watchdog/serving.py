"""Taking connections for the gateway: so many at once and no more, and none that sends no request for long."""

import asyncio
import resource
import socket
from collections.abc import Container
from contextlib import suppress

from aiohttp import web

MOST = 512
"""Most connections at once. An agent that opens more has taken them from itself."""
FIRST_REQUEST = 30.0
"""Seconds that a new connection has until its first request is there, head and all."""

_WHY = b'{"error": {"message": "offswitch: too many connections at once; close some, then ask again"}}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_WHY), _WHY)
)


def take_all_files() -> None:
    """Let this process have as many files open as it may: each connection is two, and the usual bound is 1024."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Door:
    """Accepts on a listening socket.

    Args:
        listener: The socket, listening.
        server: What makes the protocol of a connection (see ``Gateway.start``).
        heard: Connections that have brought a request.
    """

    def __init__(
        self, listener: socket.socket, server: web.Server, heard: Container[asyncio.BaseTransport]
    ) -> None:
        self._listener = listener
        self._server = server
        self._heard = heard
        self._open: set[asyncio.BaseTransport] = set()

    async def serve(self) -> None:
        """Accept until cancelled."""
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError:
                # No file is left for one more; the agent's others go on.
                await asyncio.sleep(0.05)
                continue
            connection.setblocking(False)
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open = {one for one in self._open if not one.is_closing()}
            if len(self._open) >= MOST:
                with suppress(OSError):
                    connection.send(_FULL)
                connection.close()
                continue
            try:
                transport, _ = await loop.connect_accepted_socket(self._server, connection)
            except OSError:
                connection.close()
                continue
            self._open.add(transport)
            loop.call_later(FIRST_REQUEST, self._end_if_silent, transport)

    def _end_if_silent(self, transport: asyncio.Transport) -> None:
        """End a connection that has brought no request yet: aiohttp waits for a first one for ever."""
        if transport not in self._heard:
            transport.abort()
