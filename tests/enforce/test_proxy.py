"""The only way out of a sandbox: what the policy names, and nothing else, whatever is sent."""

import contextlib
import ctypes
import http.client
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from offswitch.enforce import proxy
from offswitch.enforce.hosts import Hosts, authority, is_public
from offswitch.sandboxes import kernel, wire

PATIENCE = 20.0


class Proxy:
    """A proxy in a process of its own, as the supervisor forks it."""

    def __init__(self, hosts: list[str], before: Callable[[], None] = lambda: None) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=600)
        self.port = listener.getsockname()[1]
        self.told, tell = wire.pair()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                before()
                proxy.serve(listener, hosts, tell, parent)
            except BaseException as error:
                os.write(2, f"proxy: {error!r}\n".encode())
            finally:
                os._exit(1)
        listener.close()
        tell.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def say(self, data: bytes) -> bytes:
        """Send, and read until the proxy closes."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_all(connection)

    def tunnel(self, where: str) -> socket.socket:
        connection = self.connect()
        connection.sendall(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
        assert connection.recv(4096) == b"HTTP/1.1 200 Connection established\r\n\r\n"
        return connection

    def refused(self) -> list[str]:
        """What was told so far."""
        self.told.setblocking(False)
        found = []
        with contextlib.suppress(BlockingIOError):
            while (message := wire.receive(self.told)) is not None:
                assert message[0][0] == "refused"
                found.append(message[0][1])
        return found

    def kill(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            self.told.close()


def read_all(connection: socket.socket) -> bytes:
    data = b""
    while part := connection.recv(65536):
        data += part
    return data


@pytest.fixture
def start() -> Iterator[Callable[..., Proxy]]:
    started: list[Proxy] = []

    def one(hosts: list[str], before: Callable[[], None] = lambda: None) -> Proxy:
        started.append(Proxy(hosts, before))
        return started[-1]

    yield one
    for each in started:
        each.kill()


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked; keeps connections open, as servers do."""

    protocol_version = "HTTP/1.1"
    requests: list[tuple[str, str, dict[str, str], bytes]]
    gate: threading.Event

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline() != b"\r\n":
                pass
        type(self).requests.append((self.command, self.path, dict(self.headers), body))
        self.send_response(200)
        if self.path == "/stream":
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(3):
                if i:
                    type(self).gate.wait(PATIENCE)
                    type(self).gate.clear()
                self.wfile.write(b"9\r\ndata: %d\n\n\r\n" % i)
            self.wfile.write(b"0\r\n\r\n")
            return
        answer = self.path.encode() + b" " + body if self.path != "/big" else b"x" * 3_000_000
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Keep-Alive", "timeout=60")
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


@pytest.fixture
def upstream() -> Iterator[type[Upstream]]:
    handler = type("Handler", (Upstream,), {"requests": [], "gate": threading.Event()})
    server = Server(("127.0.0.1", 0), handler)
    handler.port = server.server_address[1]  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def get(port: int, path: str = "/", host: str = "localhost", more: str = "") -> bytes:
    return f"GET http://{host}:{port}{path} HTTP/1.1\r\nHost: {host}:{port}\r\n{more}\r\n".encode()


def test_a_named_host_is_reached_by_plain_requests_and_by_tunnel(
    start: Callable[..., Proxy], upstream: type[Upstream]
) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}"])
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{one.port}"})
    )
    with opener.open(f"http://localhost:{port}/a?b=c", timeout=PATIENCE) as answer:
        assert answer.read() == b"/a?b=c "
    client = http.client.HTTPConnection("127.0.0.1", one.port, timeout=PATIENCE)
    client.set_tunnel("localhost", port)
    for path in ("/first", "/second"):
        client.request("POST", path, body=b"body")
        assert client.getresponse().read() == path.encode() + b" body"
    client.close()
    assert one.refused() == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_works_through_it(start: Callable[..., Proxy], upstream: type[Upstream]) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}"])
    curl = ["curl", "-sS", "--fail-with-body", "-x", f"http://127.0.0.1:{one.port}", "--noproxy", ""]
    for more in ([], ["-p"], ["-d", "x" * 2000, "-H", "Expect: 100-continue"]):
        urls = [f"http://localhost:{port}/{name}" for name in "abc"]
        ended = subprocess.run([*curl, *more, *urls], capture_output=True, text=True, timeout=PATIENCE)
        assert (ended.returncode, ended.stdout[:2]) == (0, "/a")
    ended = subprocess.run(
        [*curl, "-p", "http://other.test/"], capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode != 0
    assert "403" in ended.stderr


def test_a_host_that_is_not_named_is_refused_in_words_and_told_once(
    start: Callable[..., Proxy], upstream: type[Upstream]
) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start(["api.example.org"])
    for _ in range(3):
        answer = one.say(get(port))
        assert answer.startswith(b"HTTP/1.1 403 Host not allowed: localhost:%d\r\n" % port)
        assert answer.endswith(
            b"\r\n\r\noffswitch: the policy of this agent does not name localhost:%d\n" % port
        )
    client = http.client.HTTPConnection("127.0.0.1", one.port, timeout=PATIENCE)
    client.set_tunnel("other.example.org", 443)
    with pytest.raises(OSError, match=r"403 Host not allowed: other\.example\.org"):
        client.request("GET", "/")
    assert upstream.requests == []
    assert one.refused() == [f"localhost:{port}", "other.example.org"]
    # Without the control, which is the policy, all of this is let through.
    assert b" 200 OK" in start([f"localhost:{port}"]).say(get(port))


TRICKS = [
    b"GET http://localhost:%d@evil.test/ HTTP/1.1\r\n\r\n",
    b"GET http://evil.test%%2f@localhost:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://user:pass@localhost:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://evil.test\\@localhost:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://evil.test#@localhost:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://evil.test?@localhost:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://localhost%%00.evil.test:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://localhost\xe3\x80\x82:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://localhost:%d:80/ HTTP/1.1\r\n\r\n",
    b"GET http://localhost:+%d/ HTTP/1.1\r\n\r\n",
    b"GET http://localhost..:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://2130706433:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://0x7f000001:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://127.1:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://0177.0.0.1:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://[::ffff:127.0.0.1]:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://[::1%%25lo]:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://sub.localhost:%d/ HTTP/1.1\r\n\r\n",
    b"GET https://localhost:%d/ HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost:%d\r\n\r\n",
    b"CONNECT localhost HTTP/1.1\r\nHost: localhost:%d\r\n\r\n",
    b"CONNECT http://localhost:%d HTTP/1.1\r\n\r\n",
    b"CONNECT localhost:%d/ HTTP/1.1\r\n\r\n",
    b"CONNECT evil.test:443 HTTP/1.1\r\nHost: localhost:%d\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1 \r\n\r\n",
    b"GET  http://localhost:%d/ HTTP/1.1\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/2.0\r\n\r\n",
    b"GET http://localhost:%d/\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\nX: y\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nX : y\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nX: y\r\n z\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nX: y\rZ: q\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nX: y\0\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
    b"GET http://localhost:%d/ HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
    b"GET http://localhost:%d/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
]


def test_no_trick_in_a_request_leads_anywhere(start: Callable[..., Proxy], upstream: type[Upstream]) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}"])
    for trick in TRICKS:
        answer = one.say(trick % port)
        assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 403"), trick
        assert answer.count(b"\n") == answer.count(b"\r\n") + 1
    assert upstream.requests == []
    assert b" 200 OK" in one.say(get(port))


def test_names_that_are_the_same_are_taken_as_the_same(
    start: Callable[..., Proxy], upstream: type[Upstream]
) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"LocalHost.:{port}", f"127.0.0.1:{port}"])
    for host in ("localhost", "LOCALHOST", "localhost.", "127.0.0.1"):
        assert b" 200 OK" in one.say(get(port, host=host))
        one.tunnel(f"{host}:{port}").close()


def test_the_host_that_is_sent_on_is_that_of_the_address(
    start: Callable[..., Proxy], upstream: type[Upstream]
) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}"])
    more = "Connection: X-Gone, keep-alive\r\nX-Gone: 1\r\nProxy-Authorization: secret\r\nUpgrade: h2c\r\nX-Kept: 1\r\n"
    one.say(f"GET HTTP://LOCALHOST:{port} HTTP/1.1\r\nHost: evil.test\r\n{more}\r\n".encode())
    (_, path, headers, _) = upstream.requests[0]
    assert (path, headers) == ("/", {"Host": f"localhost:{port}", "X-Kept": "1", "Connection": "close"})


def test_a_second_request_on_a_connection_goes_nowhere(
    start: Callable[..., Proxy], upstream: type[Upstream]
) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}"])
    bodies = {
        b"": get(port, "/one"),
        b"hello": get(port, "/one", more="Content-Length: 5\r\n") + b"hello",
        b"hello!": get(port, "/one", more="Transfer-Encoding: chunked\r\n")
        + b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: a\r\n\r\n",
    }
    for body, first in bodies.items():
        for pieces in (1, 7, 1000):
            upstream.requests.clear()
            whole = first + get(port, "/two") + b"GET http://evil.test/ HTTP/1.1\r\n\r\n"
            with one.connect() as connection:
                for at in range(0, len(whole), pieces):
                    connection.sendall(whole[at : at + pieces])
                answer = read_all(connection)
            assert answer.count(b"HTTP/1.1 200") == 1
            assert b"\r\nConnection: close\r\n" in answer
            assert b"keep-alive" not in answer.lower()
            assert [(request[1], request[3]) for request in upstream.requests] == [("/one", body)]


def test_what_a_server_streams_arrives_as_it_is_sent(
    start: Callable[..., Proxy], upstream: type[Upstream]
) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}"])
    for tunnelled in (False, True):
        connection = one.tunnel(f"localhost:{port}") if tunnelled else one.connect()
        with connection:
            connection.sendall(
                b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n" if tunnelled else get(port, "/stream")
            )
            data = b""
            for i in range(3):
                while b"data: %d" % i not in data:
                    data += connection.recv(4096)
                assert b"data: %d" % (i + 1) not in data
                if i < 2:
                    upstream.gate.set()


def test_large_amounts_go_both_ways_whole(start: Callable[..., Proxy], upstream: type[Upstream]) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}"])
    body = os.urandom(2_000_000)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{one.port}"})
    )
    with opener.open(f"http://localhost:{port}/up", data=body, timeout=PATIENCE) as answer:
        assert answer.read() == b"/up " + body
    with opener.open(f"http://localhost:{port}/big", timeout=PATIENCE) as answer:
        assert len(answer.read()) == 3_000_000


def test_one_direction_of_a_tunnel_can_end_before_the_other(start: Callable[..., Proxy]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with start([f"127.0.0.1:{port}"]).tunnel(f"127.0.0.1:{port}") as client:
            other, _ = server.accept()
            with other:
                other.settimeout(PATIENCE)
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                assert read_all(other) == b"question"
                other.sendall(b"answer" * 100_000)
                other.shutdown(socket.SHUT_WR)
                assert read_all(client) == b"answer" * 100_000


def test_fifty_connections_at_once(start: Callable[..., Proxy], upstream: type[Upstream]) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}"])
    tunnels = [one.tunnel(f"localhost:{port}") for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda i: one.say(get(port, f"/{i}")), range(50)))
    assert all(answer.endswith(b"/%d " % i) for i, answer in enumerate(answers))
    for i, tunnel in enumerate(tunnels):
        tunnel.sendall(b"GET /%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % i)
    for i, tunnel in enumerate(tunnels):
        assert read_all(tunnel).endswith(b"/%d " % i)
        tunnel.close()


def test_connections_are_bounded_and_the_next_has_its_turn(
    start: Callable[..., Proxy], upstream: type[Upstream]
) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}"], lambda: setattr(proxy, "_MOST_LINKS", 8))
    held = [one.connect() for _ in range(8)]
    for connection in held:
        connection.sendall(b"GET ")
    time.sleep(0.3)
    waiting = one.connect()
    waiting.sendall(get(port))
    waiting.settimeout(0.5)
    with pytest.raises(TimeoutError):
        waiting.recv(1)
    held[0].close()
    waiting.settimeout(PATIENCE)
    assert b" 200 OK" in waiting.recv(4096)
    for connection in [waiting, *held]:
        connection.close()


def test_a_head_without_end_is_ended(start: Callable[..., Proxy]) -> None:
    assert start([]).say(b"GET http://localhost/ HTTP/1.1\r\nX: " + b"y" * 70_000).startswith(b"HTTP/1.1 431")


def test_a_head_that_comes_too_slowly_is_ended_and_a_quiet_tunnel_is_not(
    start: Callable[..., Proxy], upstream: type[Upstream]
) -> None:
    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}"], lambda: setattr(proxy, "_HEAD_SECONDS", 1.0))
    quiet = one.tunnel(f"localhost:{port}")
    assert one.say(b"GET http://localhost/ HTTP/1.1\r\nX: ").startswith(b"HTTP/1.1 408")
    assert one.say(b"") == b""
    quiet.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" 200 OK" in read_all(quiet)
    quiet.close()


def test_what_cannot_be_reached_is_said(start: Callable[..., Proxy]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        one = start([f"127.0.0.1:{port}", "no-such-host.invalid"])
        assert b"127.0.0.1:%d cannot be reached\n" % port in one.say(get(port, host="127.0.0.1"))
    assert b"no-such-host.invalid cannot be resolved\n" in one.say(get(80, host="no-such-host.invalid"))


def test_an_answer_that_is_not_http_is_not_passed_on(start: Callable[..., Proxy]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        one = start([f"127.0.0.1:{port}"])
        for sent in (b"SSH-2.0-x\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000):
            with one.connect() as client:
                client.sendall(get(port, host="127.0.0.1"))
                other, _ = server.accept()
                with other:
                    other.recv(4096)
                    other.sendall(sent)
                    other.shutdown(socket.SHUT_WR)
                    assert read_all(client).startswith(b"HTTP/1.1 502")


def test_killing_it_cuts_live_connections_at_once(start: Callable[..., Proxy]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        one = start([f"127.0.0.1:{port}"])
        tunnels = [one.tunnel(f"127.0.0.1:{port}") for _ in range(20)]
        others = [server.accept()[0] for _ in range(20)]
        before = time.monotonic()
        one.kill()
        for connection in [*tunnels, *others]:
            connection.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
            connection.close()
        assert time.monotonic() - before < 5
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", one.port))


def test_it_ends_with_its_supervisor() -> None:
    script = (
        "import os, socket\nfrom offswitch.enforce import proxy\n"
        "listener = socket.create_server(('127.0.0.1', 0))\nparent = os.getpid()\npid = os.fork()\n"
        "if pid == 0:\n    proxy.serve(listener, [], None, parent)\n"
        "print(pid, listener.getsockname()[1], flush=True)\nos.read(0, 1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    pid, port = map(int, process.stdout.readline().split())
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.sendall(b"CONNECT a.test:1 HTTP/1.1\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 403"
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()
    deadline = time.monotonic() + PATIENCE
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_it_keeps_no_file_and_no_privilege_of_the_supervisors(start: Callable[..., Proxy]) -> None:
    with open(__file__):
        one = start([])
    assert one.say(b"GET / HTTP/1.1\r\n\r\n")  # it is up
    if os.geteuid() == 0:
        folder = f"/proc/{one.pid}/fd"
        files = [os.readlink(f"{folder}/{name}") for name in os.listdir(folder) if int(name) > 2]
        # The listener, where it tells, and perhaps the connection just now.
        assert len(files) <= 3
        assert all(file.startswith("socket:") for file in files)
    lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"


# A network of its own, in which names lead where the test says and a public address can be had.


def private_network(names: str) -> Callable[[], None]:
    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.unshare(0x40000000 | 0x00020000) == 0  # CLONE_NEWNET, CLONE_NEWNS
        assert libc.mount(b"none", b"/", None, 0x44000, None) == 0  # MS_REC | MS_PRIVATE
        for place, content in (("/etc/hosts", names), ("/etc/nsswitch.conf", "hosts: files\n")):
            kernel.mount_tmpfs("/mnt", "size=64k,mode=0755")
            Path("/mnt/file").write_text(content)
            os.chmod("/mnt/file", 0o644)
            assert libc.mount(b"/mnt/file", place.encode(), None, 4096, None) == 0
        for command in ("link set lo up", "addr add 93.184.216.34/32 dev lo"):
            subprocess.run(["ip", *command.split()], check=True)
        server = socket.create_server(("", 8080))
        if os.fork() == 0:
            # As the proxy will be: a dying parent that may not signal its child sends it nothing.
            os.setresuid(65534, 65534, 65534)
            kernel.die_with(os.getppid())
            while True:
                connection, _ = server.accept()
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nreached")
                connection.close()
        server.close()

    return enter


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and ip")
def test_a_name_that_leads_to_a_private_address_is_refused(start: Callable[..., Proxy]) -> None:
    names = (
        "93.184.216.34 public.test deep.wild.test mixed.test\n127.0.0.1 rebound.test mixed.test localhost\n"
        "169.254.169.254 metadata.test\n10.0.0.1 inner.wild.test\n::ffff:127.0.0.1 mapped.test\n"
    )
    policy = ["public.test:8080", "rebound.test:8080", "metadata.test", "mixed.test:8080", "*.wild.test:8080",
              "mapped.test:8080", "localhost:8080", "127.0.0.1:8080"]  # fmt: skip
    one = start(policy, private_network(names))
    for host in ("public.test", "deep.wild.test", "mixed.test", "localhost", "127.0.0.1"):
        assert one.say(get(8080, host=host)).endswith(b"reached"), host
    for host in ("rebound.test", "inner.wild.test", "mapped.test"):
        answer = one.say(get(8080, host=host))
        assert answer.startswith(b"HTTP/1.1 403")
        assert b"%s leads to a private address" % host.encode() in answer
    assert one.say(get(80, host="metadata.test")).startswith(b"HTTP/1.1 403")
    assert one.say(get(8080, host="wild.test")).startswith(b"HTTP/1.1 403")
    refused = [
        "rebound.test:8080",
        "inner.wild.test:8080",
        "mapped.test:8080",
        "metadata.test",
        "wild.test:8080",
    ]
    assert one.refused() == refused


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and ip")
def test_without_the_rule_a_name_leads_to_the_hosts_own_services(start: Callable[..., Proxy]) -> None:
    def before() -> None:
        private_network("127.0.0.1 rebound.test\n")()
        proxy.is_public = lambda _: True

    assert start(["rebound.test:8080"], before).say(get(8080, host="rebound.test")).endswith(b"reached")


def test_a_name_that_resolves_slowly_holds_nobody_else(
    start: Callable[..., Proxy], upstream: type[Upstream]
) -> None:
    def before() -> None:
        slow = socket.getaddrinfo

        def look_up(name: str, *rest: object, **more: object) -> object:
            if name.startswith("slow"):
                time.sleep(60)
            return slow(name, *rest, **more)  # type: ignore[arg-type]

        socket.getaddrinfo = look_up  # type: ignore[assignment]
        proxy._RESOLVE_SECONDS = 2.0
        proxy._MOST_RESOLVERS = 2

    port = upstream.port  # type: ignore[attr-defined]
    one = start([f"localhost:{port}", "*.test", "gone.invalid"], before)
    held = [one.connect() for _ in range(3)]
    for i, connection in enumerate(held):
        connection.sendall(f"CONNECT slow{i}.test:443 HTTP/1.1\r\n\r\n".encode())
    assert b" 200 OK" in one.say(get(port))
    held.pop().close()
    for connection in held:
        assert b"cannot be resolved" in read_all(connection)
        connection.close()
    assert b"cannot be resolved" in one.say(get(80, host="gone.invalid"))
    # Its children are reaped.
    children = Path(f"/proc/{one.pid}/task/{one.pid}/children")
    deadline = time.monotonic() + PATIENCE
    while children.exists() and children.read_text().split():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_entries_of_a_policy() -> None:
    hosts = Hosts(
        ["a.org", "b.org:8443", "*.c.org", "*.d.org:1", "[::1]:80", "10.0.0.1", "bücher.de", "E.org."]
    )
    allowed = [("a.org", 443), ("a.org", 80), ("b.org", 8443), ("x.c.org", 443), ("x.y.c.org", 80), ("x.d.org", 1),
               ("::1", 80), ("10.0.0.1", 443), ("xn--bcher-kva.de", 443), ("e.org", 443)]  # fmt: skip
    assert all(hosts.allow(*entry) for entry in allowed)
    refused = [("a.org", 8443), ("b.org", 443), ("c.org", 443), ("xc.org", 443), ("c.org.evil", 443),
               ("a.org.evil", 80),
               ("evil.a.org", 443), ("x.d.org", 443), ("::1", 443), ("10.0.0.2", 443), ("::", 80)]  # fmt: skip
    assert not any(hosts.allow(*entry) for entry in refused)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "*",
        "*.",
        "a b",
        "a/b",
        "http://a",
        "a:0",
        "a:65536",
        "a:x",
        "127.1",
        "0x1",
        "::1",
        "*.1.2.3.4",
        "a..b",
        "x@a",
    ],
)
def test_an_entry_that_is_no_host_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host: write"):
        Hosts([entry])


def test_addresses_are_written_in_one_way() -> None:
    assert authority("[0:0:0:0:0:0:0:1]:443", None) == authority("[::1]", 443) == ("::1", 443)
    assert authority("EXAMPLE.org.:443", None) == ("example.org", 443)
    assert authority("[::1%lo]:443", None) is None
    assert authority("exämple.org", 80) is None


def test_public_addresses() -> None:
    public = "93.184.216.34 1.1.1.1 172.32.0.1 2606:4700::1 2a00:1450::1 2001:4860::1"
    private = (
        "0.0.0.0 127.0.0.1 10.1.1.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.64.0.1 224.0.0.1"
        " 255.255.255.255 198.18.0.1 :: ::1 fe80::1 fc00::1 fd00:ec2::254 ff02::1 ::ffff:127.0.0.1 64:ff9b::a00:1"
        " 2002:7f00:1:: 2001::1 2001:db8::1"
    )
    assert all(is_public(address) for address in public.split())
    assert not any(is_public(address) for address in private.split())
