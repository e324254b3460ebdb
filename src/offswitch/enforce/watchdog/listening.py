"""Addresses to listen on, as ``HOST:PORT``."""

import socket


class ListenError(ValueError):
    """An address that is none, or on which nobody can listen; the message is one line."""


def parse(text: str) -> tuple[str, int]:
    """Host and port of an address: ``127.0.0.1:9464``, ``localhost:0``, ``[::1]:9464``.

    Raises:
        ListenError: It is stated otherwise.
    """
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    # Without brackets nobody knows where an address of colons ends.
    good = bare and bare.isprintable() and not set(bare) & set(" /@[]") and (bare != host or ":" not in host)
    if not good or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65535:
        raise ListenError(f"{text[:80]!r} is not HOST:PORT, such as 127.0.0.1:9464 or [::1]:9464")
    return bare, int(port)


def listen(text: str, waiting: int = 256) -> socket.socket:
    """Listen on an address; port 0 for any that is free.

    Args:
        text: The address.
        waiting: Most connections that wait to be taken.

    Raises:
        ListenError: It is none, or it cannot be listened on.
    """
    host, port = parse(text)
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(waiting)
    except (OSError, UnicodeError) as error:
        if listener is not None:
            listener.close()
        why = (error.strerror if isinstance(error, OSError) else None) or "there is no such host"
        raise ListenError(f"cannot listen on {text[:80]}: {why}; name another address") from None
    return listener


def taken(listener: socket.socket) -> str:
    """The address that a socket listens on, with the port that it got."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
