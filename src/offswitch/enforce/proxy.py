"""The only way out of a sandbox: an HTTP proxy that connects to the hosts that the policy names, and to no other.

It runs outside the sandbox as a process of its own, accepts on a socket that was made inside, and ends with the
supervisor; every connection ends with it. ``CONNECT`` is relayed byte by byte. A plain request is taken apart strictly
(RFC 9112), and a connection carries one of them: what follows it could be meant for another host, so none of it is
passed on, and ``Connection: close`` goes both ways.

Names are resolved here, outside. A name that leads to a private address is refused: whoever holds a name's zone could
point it at the host's own services or at a cloud's metadata. The policy can name such an address itself, or
``localhost``, which is this host's.

What this cannot see is inside a tunnel: a server of a named host may serve others at the same address, and a named host
may pass on what it is sent.
"""

import errno
import marshal
import os
import resource
import select
import signal
import socket
import time
from contextlib import suppress

from offswitch.enforce.hosts import Hosts, authority, is_address, is_public
from offswitch.sandboxes import kernel, wire

_MOST_LINKS = 512
_MOST_FILES = 2048
_MOST_HEAD = 64 * 1024
_HEAD_SECONDS = 30.0
_CONNECT_SECONDS = 20.0  # for each address
_RESOLVE_SECONDS = 20.0
_REMEMBER_SECONDS = 30.0
_LINGER_SECONDS = 2.0
_MOST_RESOLVERS = 16
_MOST_WAITING = 256 * 1024  # bytes read from one side that the other has not taken
_CHUNK = 64 * 1024
_MOST_TOLD = 256
_NOBODY = 65534

_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HOP = frozenset(
    (b"connection", b"proxy-connection", b"keep-alive", b"proxy-authorization", b"te", b"upgrade")
)

_HEAD, _RESOLVE, _CONNECT, _TUNNEL, _PLAIN, _LINGER = range(6)


def serve(listener: socket.socket, hosts: list[str], tell: socket.socket | None, parent: int) -> None:
    """Be the proxy, in a fresh fork of the supervisor, until it ends. Never returns.

    The process closes every file but these and its standard streams. If root started it, it becomes nobody.

    Args:
        listener: A listening TCP socket, of the sandbox's network.
        hosts: What the policy allows: see ``Hosts``.
        tell: Where ``("refused", host)`` is sent once for each refused host, as an entry of a policy is written. A
            reader that is slow misses some.
        parent: Process id of the supervisor.

    Raises:
        ValueError: An entry of ``hosts`` is malformed.
    """
    kernel.die_with(parent)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    policy = Hosts(hosts)
    _close_all_but([0, 1, 2, listener.fileno(), *([] if tell is None else [tell.fileno()])])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = _MOST_FILES if most == resource.RLIM_INFINITY else min(_MOST_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    kernel.give_up_privileges()
    kernel.close_to_tracers()
    kernel.die_with(parent)
    _Proxy(listener, policy, tell, min(_MOST_LINKS, (files - 64) // 2)).run()


def _close_all_but(kept: list[int], most: int = 1 << 20) -> None:
    last = -1
    for file in sorted(set(kept)):
        if last + 1 < file:  # an empty range is taken for all by Python 3.11
            os.closerange(last + 1, file)
        last = file
    os.closerange(last + 1, most)


class _Refused(Exception):
    """A request that is not carried out: status, reason, and one line for whoever sent it."""

    def __init__(self, status: int, reason: str, line: str) -> None:
        super().__init__(line)
        self.status, self.reason, self.line = status, reason, line


def _bad(line: str) -> _Refused:
    return _Refused(400, "Bad Request", line)


class _Body:
    """Where a request's body ends: what is to be passed on, and no byte more."""

    def __init__(self, length: int | None) -> None:
        """``length`` None: chunked (RFC 9112, 7.1)."""
        self._left = length or 0
        self._chunked = length is None
        self._line = bytearray()
        self._trailers = -1  # bytes of trailers so far; -1 before them
        self.done = length == 0

    def take(self, data: bytes) -> int:
        """How many bytes at the beginning of ``data`` belong to it.

        Raises:
            _Refused: They are not well formed.
        """
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                step = min(self._left, len(data) - at)
                if (
                    self._chunked
                    and self._left <= 2
                    and data[at : at + step] != b"\r\n"[2 - self._left :][:step]
                ):
                    raise _bad("a chunk does not end where it says")
                if self._chunked and self._left > 2:
                    step = min(step, self._left - 2)
                self._left -= step
                at += step
                self.done = not self._chunked and self._left == 0
                continue
            end = data.find(b"\n", at)
            part = data[at:] if end < 0 else data[at : end + 1]
            self._line += part
            at += len(part)
            if len(self._line) > 8192:
                raise _bad("a line of a chunked body is too long")
            if end >= 0:
                line, self._line = bytes(self._line), bytearray()
                self._ended(line)
        return at

    def _ended(self, line: bytes) -> None:
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            raise _bad("a line of a chunked body does not end with CR LF")
        if self._trailers >= 0:
            self._trailers += len(line)
            self.done = line == b"\r\n"
            if self._trailers > _MOST_HEAD:
                raise _bad("the trailers are too long")
            return
        size = line[:-2].partition(b";")[0].rstrip(b" \t")
        if not 0 < len(size) <= 15 or not frozenset(b"0123456789abcdefABCDEF").issuperset(size):
            raise _bad("a chunk has no size")
        self._left = int(size, 16)
        if self._left:
            self._left += 2  # with the CR LF behind it
        else:
            self._trailers = 0


def _request(head: bytes) -> tuple[bool, str, int, bytes, _Body]:
    """Take a request's head apart (without the empty line at its end).

    Returns:
        Whether it is a CONNECT, host, port, the head to send on, and what body follows.

    Raises:
        _Refused: It is not what RFC 9112 says, or not for a proxy.
    """
    lines = head.split(b"\r\n")
    if any(c in line for line in lines for c in (b"\r", b"\n", b"\0")):
        raise _bad("a line of the request does not end with CR LF")
    parts = lines[0].split(b" ")
    if len(parts) != 3 or parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise _bad("this proxy speaks HTTP/1.1")
    method, target, version = parts
    if not method or not _TOKEN.issuperset(method) or not target or not all(0x20 < c < 0x7F for c in target):
        raise _bad("the request line is malformed")
    kept, body = _fields(lines[1:], version)
    if method == b"CONNECT":
        where = authority(target.decode("ascii"), None)
        if where is None:
            raise _bad("CONNECT wants host:port")
        return True, *where, b"", _Body(0)
    if not target[:7].lower() == b"http://" or b"#" in target or b"\\" in target:
        raise _bad("this is a proxy: ask for http://host/path, or CONNECT host:443")
    rest = target[7:]
    end = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
    where = authority(rest[:end].decode("ascii"), 80)
    if where is None:
        raise _bad("the address names no host that this proxy understands")
    host, port = where
    path = rest[end:]
    shown = f"[{host}]" if ":" in host else host
    name = shown if port == 80 else f"{shown}:{port}"
    # The Host that was sent is dropped for that of the address (RFC 9112, 3.2.2), so they cannot differ.
    first = b" ".join((method, path if path.startswith(b"/") else b"/" + path, version))
    new = [first, b"Host: " + name.encode(), *kept, b"Connection: close", b"", b""]
    return False, host, port, b"\r\n".join(new), body


def _fields(lines: list[bytes], version: bytes) -> tuple[list[bytes], _Body]:
    """The header fields that are sent on, and the body that they announce."""
    kept = []
    seen: dict[bytes, bytes] = {}
    named: set[bytes] = set()
    for line in lines:
        name, colon, value = line.partition(b":")
        # A space before the colon, or a line that goes on from the one before: servers differ on what they mean.
        if not colon or not name or not _TOKEN.issuperset(name):
            raise _bad("a header field is malformed")
        name, value = name.lower(), value.strip(b" \t")
        if name in (b"host", b"content-length", b"transfer-encoding"):
            if name in seen:
                raise _bad(f"{name.decode()} stands there twice")
            seen[name] = value
        if name in (b"connection", b"proxy-connection"):
            named.update(word.strip(b" \t").lower() for word in value.split(b","))
        if name != b"host" and name not in _HOP:
            kept.append(line)
    # What is for this connection only (RFC 9110, 7.6.1); what delimits the body never is.
    own = named - {b"content-length", b"transfer-encoding", b"trailer"}
    kept = [line for line in kept if line.partition(b":")[0].lower() not in own]
    length, encoding = seen.get(b"content-length"), seen.get(b"transfer-encoding")
    if encoding is not None:
        if length is not None or encoding.lower() != b"chunked" or version == b"HTTP/1.0":
            raise _bad("the length of the body is not clear")
        return kept, _Body(None)
    if length is None:
        return kept, _Body(0)
    if not length.isdigit() or len(length) > 18:
        raise _bad("the length of the body is not clear")
    return kept, _Body(int(length))


def _response(head: bytes) -> tuple[bytes, bool]:
    """A response's head (with the empty line) that says that the connection ends; and whether another head follows."""
    lines = head.rstrip(b"\r\n").split(b"\n")
    status = lines[0].split(None, 2)[1:2]
    if not lines[0].startswith(b"HTTP/") or not status or len(status[0]) != 3 or not status[0].isdigit():
        raise _Refused(502, "Bad Gateway", "the host did not answer in HTTP")
    if status[0].startswith(b"1"):
        return head, True
    kept = [line.rstrip(b"\r") for line in lines if line.partition(b":")[0].strip().lower() not in _HOP]
    return b"\r\n".join([*kept, b"Connection: close", b"", b""]), False


class _End:
    """One side of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.out = bytearray()  # what it has yet to be sent
        self.ended = False  # it sends nothing more
        self.finish = False  # it is sent nothing more after ``out``
        self.finished = False
        self.watched = 0  # what poll is asked for; 0: it is not


class _Link:
    """A connection from the sandbox, and the one that it leads to."""

    def __init__(self, client: socket.socket, now: float) -> None:
        self.state = _HEAD
        self.client = _End(client)
        self.server: _End | None = None
        self.deadline: float | None = now + _HEAD_SECONDS
        self.head = bytearray()
        self.tunnel = False
        self.host, self.port = "", 0
        self.forward = b""
        self.body = _Body(0)
        self.addresses: list[tuple[int, str]] = []
        self.answer: bytearray | None = bytearray()  # the response's head so far; None once it was sent


class _Lookup:
    """A name that is being resolved, by a child: getaddrinfo blocks, for as long as it likes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: list[_Link] = []
        self.child = 0
        self.answer = -1
        self.deadline = 0.0


class _Proxy:
    def __init__(self, listener: socket.socket, policy: Hosts, tell: socket.socket | None, most: int) -> None:
        self._listener, self._policy, self._tell, self._most = listener, policy, tell, most
        self._poll = select.poll()
        self._links: set[_Link] = set()
        self._ends: dict[int, _Link] = {}
        self._lookups: dict[str, _Lookup] = {}
        self._answers: dict[int, _Lookup] = {}
        self._known: dict[str, tuple[float, list[tuple[int, str]]]] = {}
        self._told: set[str] = set()
        self._listening = False
        listener.setblocking(False)
        if tell is not None:
            tell.setblocking(False)

    def run(self) -> None:
        check = 0.0
        while True:
            if not self._listening and len(self._links) < self._most:
                self._poll.register(self._listener, select.POLLIN)
                self._listening = True
            for file, event in self._poll.poll(1000 if self._links or self._lookups else None):
                if file == self._listener.fileno():
                    self._accept()
                elif file in self._answers:
                    self._resolved(self._answers[file])
                elif file in self._ends:
                    link = self._ends[file]
                    try:
                        self._step(link, file, event)
                    except _Refused as refused:
                        self._refuse(link, refused)
                    except OSError:
                        self._close(link)
            now = time.monotonic()
            if now >= check:
                check = now + 0.5
                self._late(now)

    # Connections from the sandbox

    def _accept(self) -> None:
        for _ in range(64):
            if len(self._links) >= self._most:
                self._poll.unregister(self._listener)
                self._listening = False
                return
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(client, time.monotonic())
            self._links.add(link)
            self._ends[client.fileno()] = link
            self._watch(link)

    def _close(self, link: _Link) -> None:
        if link not in self._links:
            return
        self._links.discard(link)
        for lookup in self._lookups.values():
            if link in lookup.waiting:
                lookup.waiting.remove(link)
        self._part(link, link.client)
        if link.server is not None:
            self._part(link, link.server)

    def _part(self, link: _Link, end: _End) -> None:
        if end.watched:
            self._poll.unregister(end.socket)
            end.watched = 0
        self._ends.pop(end.socket.fileno(), None)
        end.socket.close()

    def _late(self, now: float) -> None:
        for link in [link for link in self._links if link.deadline is not None and link.deadline <= now]:
            try:
                if link.state == _CONNECT:
                    self._next_address(link)
                elif link.state == _HEAD and link.head:
                    self._refuse(
                        link, _Refused(408, "Request Timeout", "the request did not come within 30 s")
                    )
                else:
                    self._close(link)
            except _Refused as refused:
                self._refuse(link, refused)
        for lookup in [
            lookup for lookup in self._lookups.values() if lookup.child and lookup.deadline <= now
        ]:
            self._resolved(lookup, late=True)

    def _step(self, link: _Link, file: int, event: int) -> None:
        """Something can be done on one side of a connection."""
        if link.state == _HEAD:
            self._read_head(link)
        elif link.state == _CONNECT:
            assert link.server is not None
            if link.server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._next_address(link)
            elif _is_connected(link.server.socket):
                self._connected(link)
        elif link.state == _LINGER:
            self._send(link.client)
            if event & ~select.POLLOUT and self._receive(link.client) == b"":
                self._close(link)
            else:
                self._finish(link)
        elif link.state in (_TUNNEL, _PLAIN):
            assert link.server is not None
            here = link.client if file == link.client.socket.fileno() else link.server
            there = link.server if here is link.client else link.client
            if event & select.POLLOUT:
                self._send(here)
            if event & ~select.POLLOUT and not here.ended:
                data = self._receive(here)
                if data is not None:
                    self._pass(link, here, there, data)
                    if there.out:
                        self._send(there)
            self._finish(link)
        self._watch(link)

    def _receive(self, end: _End) -> bytes | None:
        """What was sent; nothing at its end; None if there is nothing yet."""
        try:
            return end.socket.recv(_CHUNK)
        except BlockingIOError:
            return None

    def _send(self, end: _End) -> None:
        if end.out:
            with suppress(BlockingIOError):
                del end.out[: end.socket.send(end.out)]

    def _pass(self, link: _Link, here: _End, there: _End, data: bytes) -> None:
        if not data:
            here.ended = True
            if link.state == _TUNNEL or here is link.server:
                there.finish = True
                if here is link.server and link.state == _PLAIN and link.answer is not None:
                    raise _Refused(502, "Bad Gateway", "the host ended without an answer")
            else:
                self._close(link)  # as servers do: who asks plainly and then goes wants no answer
        elif link.state == _TUNNEL:
            there.out += data
        elif here is link.client:
            # Behind the body nothing is passed on: it may be a request for another host.
            there.out += data[: link.body.take(data)] if not link.body.done else b""
        elif link.answer is None:
            there.out += data
        else:
            link.answer += data
            self._answer(link)

    def _answer(self, link: _Link) -> None:
        """Pass the head of a response on, once it is whole."""
        while link.answer is not None:
            end = link.answer.find(b"\r\n\r\n")
            if end < 0:
                if len(link.answer) > _MOST_HEAD:
                    raise _Refused(502, "Bad Gateway", "the head of the host's answer is too long")
                return
            head, more = _response(bytes(link.answer[: end + 4]))
            link.client.out += head
            del link.answer[: end + 4]
            if not more:
                link.client.out += link.answer
                link.answer = None

    def _finish(self, link: _Link) -> None:
        """End what has ended, each direction by itself."""
        if link not in self._links:
            return
        for end in (link.client, link.server):
            if end is not None and end.finish and not end.out and not end.finished:
                end.finished = True
                end.socket.shutdown(socket.SHUT_WR)
        if (
            link.state == _TUNNEL
            and link.server is not None
            and link.client.finished
            and link.server.finished
        ):
            self._close(link)
        elif link.state == _PLAIN and link.client.finished:
            self._linger(link)

    def _linger(self, link: _Link) -> None:
        """Wait a little for the client to end: closed with something unread, what it was sent last would be lost."""
        if link.server is not None:
            self._part(link, link.server)
            link.server = None
        link.client.finish = True
        link.state, link.deadline = _LINGER, time.monotonic() + _LINGER_SECONDS

    def _watch(self, link: _Link) -> None:
        """Ask poll for what can be used now, and for nothing else: what is not read would wake it for ever."""
        if link not in self._links:
            return
        client, server = link.client, link.server
        if link.state in (_TUNNEL, _PLAIN) and server is not None:
            wanted = [(client, self._wants(client, server)), (server, self._wants(server, client))]
        elif link.state == _CONNECT and server is not None:
            wanted = [(client, 0), (server, select.POLLOUT)]
        elif link.state == _RESOLVE or link.state == _CONNECT:
            wanted = [(client, 0)]
        else:
            wanted = [(client, select.POLLIN | (select.POLLOUT if client.out else 0))]
        for end, events in wanted:
            if events == end.watched:
                continue
            if not events:
                self._poll.unregister(end.socket)
            else:
                self._poll.register(end.socket, events)
            end.watched = events

    @staticmethod
    def _wants(here: _End, there: _End) -> int:
        reading = not here.ended and len(there.out) < _MOST_WAITING
        return (select.POLLIN if reading else 0) | (select.POLLOUT if here.out else 0)

    # Requests

    def _read_head(self, link: _Link) -> None:
        data = self._receive(link.client)
        if data is None:
            return
        if not data:
            self._close(link)
            return
        searched = max(0, len(link.head) - 3)
        link.head += data
        end = link.head.find(b"\r\n\r\n", searched)
        if end < 0 or end > _MOST_HEAD:
            if len(link.head) > _MOST_HEAD:
                raise _Refused(
                    431, "Request Header Fields Too Large", "the head of the request is over 64 KiB"
                )
            return
        link.tunnel, link.host, link.port, link.forward, link.body = _request(bytes(link.head[:end]))
        after = bytes(link.head[end + 4 :])
        link.forward += after if link.tunnel else after[: link.body.take(after)]
        link.head.clear()
        if not self._policy.allow(link.host, link.port):
            self._say_refused(link)
            raise _Refused(
                403,
                f"Host not allowed: {_shown(link)}",
                f"the policy of this agent does not name {_shown(link)}",
            )
        link.state, link.deadline = _RESOLVE, None
        self._resolve(link)

    def _refuse(self, link: _Link, refused: _Refused) -> None:
        """Answer with one line."""
        if link not in self._links:
            return
        if link.state in (_TUNNEL, _PLAIN) and link.answer is None:
            self._close(link)  # its answer has begun already
            return
        body = f"offswitch: {refused.line}\n".encode()
        link.client.out += (
            f"HTTP/1.1 {refused.status} {refused.reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode() + body
        self._linger(link)
        try:
            self._send(link.client)
            self._finish(link)
            self._watch(link)
        except OSError:
            self._close(link)

    def _say_refused(self, link: _Link) -> None:
        shown = _shown(link)
        if self._tell is None or shown in self._told or len(self._told) >= _MOST_TOLD:
            return
        try:
            wire.send(self._tell, ("refused", shown))
        except OSError:
            return
        self._told.add(shown)

    # Names and addresses

    def _resolve(self, link: _Link) -> None:
        if link.host == "localhost":
            link.addresses = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
        elif is_address(link.host):
            link.addresses = [(socket.AF_INET6 if ":" in link.host else socket.AF_INET, link.host)]
        else:
            expires, found = self._known.get(link.host, (0.0, []))
            if expires <= time.monotonic():
                lookup = self._lookups.setdefault(link.host, _Lookup(link.host))
                lookup.waiting.append(link)
                self._look_up()
                return
            self._choose(link, found)
        self._next_address(link)

    def _look_up(self) -> None:
        """Start children for names that wait, as many as there may be at once."""
        for lookup in list(self._lookups.values()):
            if len(self._answers) >= _MOST_RESOLVERS:
                return
            if lookup.child:
                continue
            answer, say = os.pipe()
            parent = os.getpid()
            try:
                child = os.fork()
            except OSError:
                os.close(answer)
                os.close(say)
                raise
            if child == 0:
                _resolver(lookup.name, say, parent)
            os.close(say)
            os.set_blocking(answer, False)
            lookup.child, lookup.answer = child, answer
            lookup.deadline = time.monotonic() + _RESOLVE_SECONDS
            self._answers[answer] = lookup
            self._poll.register(answer, select.POLLIN)

    def _resolved(self, lookup: _Lookup, late: bool = False) -> None:
        """A child has answered in one piece, or has ended, or is too late."""
        try:
            data = os.read(lookup.answer, select.PIPE_BUF)
        except BlockingIOError:
            if not late:
                return
            data = b""
        self._poll.unregister(lookup.answer)
        del self._answers[lookup.answer]
        del self._lookups[lookup.name]
        os.close(lookup.answer)
        os.kill(lookup.child, signal.SIGKILL)
        os.waitpid(lookup.child, 0)
        found: list[tuple[int, str]] = marshal.loads(data) if data else []  # noqa: S302 - a fork of this process
        if found:
            if len(self._known) >= 256:
                self._known.clear()
            self._known[lookup.name] = (time.monotonic() + _REMEMBER_SECONDS, found)
        for link in lookup.waiting:
            try:
                self._choose(link, found)
                self._next_address(link)
                self._watch(link)
            except _Refused as refused:
                self._refuse(link, refused)
            except OSError:
                self._close(link)
        self._look_up()

    def _choose(self, link: _Link, found: list[tuple[int, str]]) -> None:
        if not found:
            raise _Refused(502, "Name not found", f"{link.host} cannot be resolved")
        link.addresses = [(family, address) for family, address in found if is_public(address)]
        if not link.addresses:
            self._say_refused(link)
            raise _Refused(
                403, f"Host not allowed: {_shown(link)}",
                f"{link.host} leads to a private address, which the policy would have to name itself",
            )  # fmt: skip

    def _next_address(self, link: _Link) -> None:
        """Connect to the first address, or to the one after that which failed."""
        link.state = _CONNECT
        if link.server is not None:
            self._part(link, link.server)
            link.server = None
        while link.addresses:
            family, address = link.addresses.pop(0)
            try:
                connection = socket.socket(
                    family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
                )
            except OSError:
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if connection.connect_ex((address, link.port)) not in (0, errno.EINPROGRESS):
                connection.close()
                continue
            link.server = _End(connection)
            link.deadline = time.monotonic() + _CONNECT_SECONDS
            self._ends[connection.fileno()] = link
            self._watch(link)
            return
        raise _Refused(502, "Bad Gateway", f"{_shown(link)} cannot be reached")

    def _connected(self, link: _Link) -> None:
        assert link.server is not None
        link.state, link.deadline = (_TUNNEL if link.tunnel else _PLAIN), None
        link.server.out += link.forward
        link.forward = b""
        if link.tunnel:
            link.answer = None
            link.client.out += b"HTTP/1.1 200 Connection established\r\n\r\n"
        self._send(link.client)
        self._send(link.server)


def _is_connected(connection: socket.socket) -> bool:
    """Whether it truly is: an event may have been meant for a file that had this number before."""
    try:
        connection.getpeername()
    except OSError:
        return False
    return True


def _shown(link: _Link) -> str:
    """The host as an entry of a policy is written."""
    host = f"[{link.host}]" if ":" in link.host else link.host
    return host if link.port in (443, 80) else f"{host}:{link.port}"


def _resolver(name: str, say: int, parent: int) -> None:
    """Be the child that resolves one name."""
    try:
        kernel.die_with(parent)
        # Not a copy of any connection: they are to end with the proxy.
        _close_all_but([2, say], _MOST_FILES)
        entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        found = [
            (int(family), str(place[0])) for family, _, _, _, place in entries if "%" not in str(place[0])
        ]
        os.write(say, marshal.dumps(found[:32]))
    except (OSError, UnicodeError):
        pass
    finally:
        os._exit(0)
