"""Which hosts a policy names: one way to write each name, strict matches, and which addresses are public."""

import socket

_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_PORTS = (443, 80)

# Never reached through a name, for whoever holds the name's zone could point it there. IANA special-purpose registry,
# RFC 6890 and its successors. Of IPv6 only 2000::/3 is global, less what carries IPv4 or is for documents.
_PRIVATE_4 = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
    "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3"
).split()
_PRIVATE_6 = "2001::/23 2001:db8::/32 2002::/16 3fff::/20".split()


def authority(text: str, default_port: int | None) -> tuple[str, int] | None:
    """Host and port of ``host``, ``host:port`` or ``[address]:port``, in the one way that they are compared in.

    Names come in small letters without the dot at the end, addresses as ``inet_ntop`` writes them. Only letters,
    digits, ``-`` and ``_`` are taken (no user, no ``%``, no letters beyond ASCII), and what a resolver would take for
    a number (``127.1``, ``0x7f000001``) is none.

    Returns:
        None if it is not such a thing, or has no port and there is no default.
    """
    host: str | None
    port: str | None
    if text.startswith("["):
        literal, closed, port = text[1:].partition("]")
        host = _address(socket.AF_INET6, literal)
        if not closed or host is None or (port and not port.startswith(":")):
            return None
        port = port[1:] if port else None
    else:
        name, colon, rest = text.partition(":")
        host, port = _name(name), rest if colon else None
        if host is None:
            return None
    if port is None:
        return None if default_port is None else (host, default_port)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        return None
    return host, int(port)


def _address(family: int, text: str) -> str | None:
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        return None


def _name(text: str) -> str | None:
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not text.isascii():
        return None
    if not all(0 < len(label) <= 63 and _NAME.issuperset(label) for label in labels):
        return None
    # What ends in a number is an IPv4 address or nothing (WHATWG URL, "ends in a number").
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        return _address(socket.AF_INET, name)
    return name


def is_address(host: str) -> bool:
    """Whether a host from ``authority`` is an address rather than a name."""
    return ":" in host or host.rpartition(".")[2].isdigit()


class Hosts:
    """The hosts that a policy names.

    Args:
        entries: ``host`` (its ports 443 and 80), ``host:port``, and ``*.example.org``, with or without a port, for
            every name below example.org but not that name itself. Addresses of IPv6 stand in brackets.

    Raises:
        ValueError: An entry is none of these; the message is one line that says which.
    """

    def __init__(self, entries: list[str]) -> None:
        self._exact: set[tuple[str, int]] = set()
        self._below: set[tuple[str, int]] = set()
        for entry in entries:
            below = entry.startswith("*.")
            text = entry[2:] if below else entry
            if not text.isascii():
                name, colon, port = text.partition(":")
                try:
                    text = name.encode("idna").decode() + colon + port
                except UnicodeError:
                    text = ""
            found = authority(text, 0)
            if found is None or (below and is_address(found[0])):
                raise ValueError(
                    f"{entry!r} is not a host: write api.example.org, api.example.org:8443 or *.example.org"
                )
            host, port_number = found
            ports = (port_number,) if port_number else _PORTS
            (self._below if below else self._exact).update((host, port) for port in ports)

    def allow(self, host: str, port: int) -> bool:
        """Whether the policy names this host, as ``authority`` writes it."""
        if (host, port) in self._exact:
            return True
        if is_address(host):
            return False
        labels = host.split(".")
        return any((".".join(labels[i:]), port) in self._below for i in range(1, len(labels)))


def _bits(family: int, text: str) -> int:
    return int.from_bytes(socket.inet_pton(family, text), "big")


def _within(family: int, address: str, networks: list[str]) -> bool:
    width = 32 if family == socket.AF_INET else 128
    value = _bits(family, address)
    for network in networks:
        start, _, length = network.partition("/")
        if (value ^ _bits(family, start)) >> (width - int(length)) == 0:
            return True
    return False


def is_public(address: str) -> bool:
    """Whether an address belongs to a host of the internet: not to this machine, its networks or a cloud's metadata."""
    if ":" in address:
        return _within(socket.AF_INET6, address, ["2000::/3"]) and not _within(
            socket.AF_INET6, address, _PRIVATE_6
        )
    return not _within(socket.AF_INET, address, _PRIVATE_4)
