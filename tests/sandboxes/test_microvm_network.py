"""A micro virtual machine's way out: to the proxy's port, and to nothing else of the host's or beyond."""

import ctypes
import fcntl
import http.server
import itertools
import os
import select
import shutil
import signal
import socket
import stat
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from microvm_machine import PATIENCE, Machine, Maker
from sandbox_helpers import as_root
from tests.enforce.conftest import Ground, alive, eventually, opened

from offswitch.enforce import places, planning, policy, proxy
from offswitch.enforce.planning import PROXY
from offswitch.sandboxes import cells, wire
from offswitch.sandboxes.cells import microvm_image, microvm_network
from offswitch.sandboxes.cells.microvm_network import GATE, GUEST
from offswitch.sandboxes.errors import SandboxUnavailable

GATEWAY = 3129
_SIOCGSKNS = 0x894C
_CLOSED = (1, 22, 53, 80, 111, 443, 3127, 3130, 8080, 65535)


@pytest.fixture
def networked(prepared: None) -> None:
    """The prepared guest has a network device, and a tap can be made here."""
    try:
        microvm_image.check_network({})
    except microvm_image.Unprepared:
        try:
            microvm_image.prepare()
        except microvm_image.Unprepared as error:
            pytest.skip(str(error))
    _possible()


def _possible() -> None:
    try:
        tap, _ = microvm_network.make([])
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    os.close(tap)


# The far end alone, with the frames that a guest whose kernel was taken over may send


class End:
    """The device as the guest has it: frames in and out."""

    def __init__(self) -> None:
        self.tap, sockets = microvm_network.make([PROXY, GATEWAY])
        self.sockets = [socket.socket(fileno=file) for file in sockets]
        self.first = self._read()
        self.gate = b"\xff" * 6
        self._source = 1000
        self._send(*self.arp(GATE))
        self.gate = next(frame[6:12] for frame in self._read() if frame[12:14] == b"\x08\x06")

    def answers(self, *packets: tuple[int, bytes]) -> set[tuple[str, str, int]]:
        """What comes back for packets (type of frame, content): protocol, address, and port or ICMP's type.

        The kernel takes each frame in before the write returns, and the last one, to the proxy, is answered.
        """
        for kind, content in packets:
            self._send(kind, content)
        last = self._source + 1
        self._send(0x0800, _syn(GATE, PROXY, last))
        frames: list[bytes] = []
        while not any(_target(frame) == last for frame in frames):
            assert select.select([self.tap], [], [], PATIENCE)[0]
            frames += self._read()
        # What was answered before is answered again after a while.
        wanted = (None, self._source, last)
        self._source += 2
        return {_told(frame) for frame in frames if _target(frame) in wanted}

    def close(self) -> None:
        os.close(self.tap)
        for one in self.sockets:
            one.close()

    def syn(self, to: str, port: int) -> tuple[int, bytes]:
        """A request to open a connection."""
        return 0x0800, _syn(to, port, self._source)

    def arp(self, address: str) -> tuple[int, bytes]:
        """A request (RFC 826)."""
        head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + b"\x02\0\0\0\0\x02" + socket.inet_aton(GUEST)
        return 0x0806, head + b"\0" * 6 + socket.inet_aton(address)

    def _read(self) -> list[bytes]:
        frames = []
        with suppress(BlockingIOError):
            while True:
                frames.append(os.read(self.tap, 2048))
        return frames

    def _send(self, kind: int, content: bytes) -> None:
        os.write(self.tap, self.gate + b"\x02\0\0\0\0\x02" + kind.to_bytes(2, "big") + content)


def _sum(data: bytes) -> int:
    """The internet's checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])) + (
        data[-1] << 8 if len(data) & 1 else 0
    )
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ip(to: str, protocol: int, content: bytes) -> bytes:
    source, target = socket.inet_aton(GUEST), socket.inet_aton(to)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(content), 1, 0, 64, protocol, 0, source, target)
    return head[:10] + _sum(head).to_bytes(2, "big") + head[12:] + content


def _syn(to: str, port: int, source: int) -> bytes:
    head = struct.pack("!HHIIBBHHH", source, port, 1, 0, 0x50, 2, 1024, 0, 0)
    pseudo = socket.inet_aton(GUEST) + socket.inet_aton(to) + struct.pack("!HH", 6, len(head))
    return _ip(to, 6, head[:16] + _sum(pseudo + head).to_bytes(2, "big") + head[18:])


def _datagram(to: str, port: int) -> bytes:
    # Without a checksum, which is permitted (RFC 768).
    return _ip(to, 17, struct.pack("!HHHH", 7, port, 12, 0) + b"text")


def _target(frame: bytes) -> int | None:
    """The port of ours that a TCP segment is for."""
    return int.from_bytes(frame[36:38], "big") if frame[12:14] == b"\x08\x00" and frame[23] == 6 else None


def _told(frame: bytes) -> tuple[str, str, int]:
    kind = int.from_bytes(frame[12:14], "big")
    if kind == 0x0806:
        return "arp", socket.inet_ntoa(frame[28:32]), int.from_bytes(frame[20:22], "big")
    if kind != 0x0800:
        return f"{kind:#06x}", "", 0
    address, protocol = socket.inet_ntoa(frame[26:30]), frame[23]
    if protocol == 6:
        (port,) = struct.unpack("!H", frame[34:36])
        return ("open" if frame[47] & 0x12 == 0x12 else "closed"), address, port
    if protocol == 1:
        return "icmp", address, frame[34]
    return str(protocol), address, 0


@pytest.fixture
def end() -> Iterator[End]:
    _possible()
    one = End()
    yield one
    one.close()


_OURS = {("open", GATE, PROXY)}


def _own_addresses() -> list[str]:
    """This host's own, of all its devices."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    found = {line.split()[1] for line, after in itertools.pairwise(lines) if "/32 host LOCAL" in after}
    return sorted(found)


def test_two_ports_answer_and_no_other(end: End) -> None:
    packets = [end.syn(GATE, port) for port in (*_CLOSED, PROXY, GATEWAY)]

    assert end.answers(*packets) == _OURS | {("open", GATE, GATEWAY)} | {
        ("closed", GATE, port) for port in _CLOSED
    }
    # To say that nobody is there is all that datagrams come to.
    assert end.answers((0x0800, _datagram(GATE, 53))) == _OURS | {("icmp", GATE, 3)}


def test_no_other_address_answers_whatever_a_frame_says(end: End) -> None:
    others = ["127.0.0.1", "10.0.0.1", "192.0.2.0", "192.0.2.3", "169.254.169.254", "224.0.0.1", "8.8.8.8"]
    others += _own_addresses()

    for port in (PROXY, 22, 80):
        assert end.answers(*[end.syn(one, port) for one in others]) == _OURS
    assert end.answers(*[(0x0800, _datagram(one, 53)) for one in others]) == _OURS
    assert end.answers(*[end.arp(one) for one in others]) == _OURS


def test_there_is_no_ipv6(end: End) -> None:
    # A device that has it says so as it comes up.
    assert [frame for frame in end.first if frame[12:14] == b"\x86\xdd"] == []
    local = bytes([end.gate[0] ^ 2]) + end.gate[1:3] + b"\xff\xfe" + end.gate[3:]
    source, target = b"\xfe\x80" + b"\0" * 13 + b"\x02", b"\xfe\x80" + b"\0" * 6 + local
    echo = b"\x80\0\0\0\0\x01\0\x01"
    pseudo = source + target + struct.pack("!II", len(echo), 58)
    echo = echo[:2] + _sum(pseudo + echo).to_bytes(2, "big") + echo[4:]
    packet = struct.pack("!IHBB", 6 << 28, len(echo), 58, 64) + source + target + echo

    assert end.answers((0x86DD, packet)) == _OURS


def test_a_namespace_that_forwards_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    _possible()
    monkeypatch.setattr(microvm_network, "_SETTINGS", (("ipv4/ip_forward", "1"),))
    end = End()

    assert end.answers(end.syn("8.8.8.8", 80)) != _OURS
    end.close()


@as_root
def test_in_the_namespace_is_nothing_but_the_device_and_the_sockets(end: End) -> None:
    seen = _seen_in(end.sockets[0])

    assert seen == {
        "devices": ["gate", "lo"],
        "up": ["gate"],
        "tcp": [PROXY, GATEWAY],
        "others": [],
        "forwards": "0",
    }


@as_root
def test_the_device_goes_with_its_last_holder(end: End) -> None:
    os.close(end.tap)
    try:
        assert _seen_in(end.sockets[0])["devices"] == ["lo"]
    finally:
        end.tap = os.open(os.devnull, os.O_RDONLY)


def _seen_in(listener: socket.socket) -> dict[str, object]:
    """What is in the network namespace of a socket, from a process that enters it."""
    ours, theirs = wire.pair()
    pid = os.fork()
    if pid == 0:
        try:
            namespace = fcntl.ioctl(listener, _SIOCGSKNS)
            assert ctypes.CDLL(None).setns(namespace, 0) == 0
            lines = {
                name: Path(f"/proc/self/net/{name}").read_text().splitlines()
                for name in ("dev", "tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet")
                if os.path.exists(f"/proc/self/net/{name}")
            }
            devices = sorted(line.split(":")[0].strip() for line in lines.pop("dev")[2:])
            up = []
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
                for name in devices:
                    flags = fcntl.ioctl(asking, 0x8913, struct.pack("=16s24x", name.encode()))
                    up += [name] if struct.unpack_from("=H", flags, 16)[0] & 1 else []
            tcp = sorted(int(line.split()[1].rpartition(":")[2], 16) for line in lines.pop("tcp")[1:])
            others = sorted(name for name, listed in lines.items() if len(listed) > 1)
            forwards = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
            seen = {"devices": devices, "up": up, "tcp": tcp, "others": others, "forwards": forwards}
            wire.send(theirs, seen)
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        message = wire.receive(ours)
    os.waitpid(pid, 0)
    assert message is not None
    return dict(message[0])


# What is refused


@pytest.mark.parametrize(
    ("device", "word"), [("/nowhere/tun", "modprobe tun"), ("/", "modprobe tun"), ("/dev/null", "as root")]
)
def test_without_a_tap_it_says_in_one_line_what_to_do(
    make: Maker, monkeypatch: pytest.MonkeyPatch, device: str, word: str
) -> None:
    monkeypatch.setattr(microvm_network, "_DEVICE", device)
    monkeypatch.setattr(microvm_image, "check_network", lambda options: None)

    verb, why = make("true", proxy=PROXY).hear()

    assert verb == "failed"
    assert word in why
    assert "hosts out of the policy" in why
    assert "\n" not in why


@as_root
def test_a_user_who_may_not_make_a_tap_is_told_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "tun"
    closed.touch(mode=0o600)
    monkeypatch.setattr(microvm_network, "_DEVICE", str(closed))
    said, say = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(54321, 54321, 54321)
            os.setresuid(54321, 54321, 54321)
            microvm_network.make([])
        except SandboxUnavailable as error:
            os.write(say, str(error).encode())
        finally:
            os._exit(0)
    os.close(say)
    with os.fdopen(said) as answer:
        why = answer.read()
    os.waitpid(pid, 0)

    if "namespace" in why:
        pytest.skip("ordinary users get no namespaces here")
    assert "chmod 666" in why


def test_a_setting_that_cannot_be_made_refuses_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    _possible()
    # As where /proc/sys is read-only: this one always is.
    monkeypatch.setattr(microvm_network, "_SETTINGS", (("ipv4/tcp_available_congestion_control", "0"),))

    with pytest.raises(SandboxUnavailable, match="cannot be written") as caught:
        microvm_network.make([PROXY])

    assert "\n" not in str(caught.value)


def test_a_guest_of_an_earlier_preparation_is_refused_and_prepared_anew(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    guest = tmp_path / "offswitch" / "microvm" / "guest"
    (guest / "modules").mkdir(parents=True)
    (guest / "vmlinux").write_bytes(b"\x7fELF older")
    (guest / "modules" / "virtio_blk.ko").write_bytes(b"")
    asked = []

    def command(argv: list[str], folder: str) -> str:
        asked.append(argv[:2])
        if argv[1] == "depends":
            return "linux\n  Depends: linux-image-9\n"
        if argv[1] == "download":
            Path(folder, "linux.deb").touch()
        elif argv[0] == "dpkg-deb":
            modules = Path(folder, "unpacked/lib/modules")
            modules.mkdir(parents=True)
            Path(folder, "unpacked/boot").mkdir()
            Path(folder, "unpacked/boot/vmlinuz-9").write_bytes(b"\x7fELF newer")
            for name, depends in (
                ("virtio_net", b"net_failover"),
                ("net_failover", b"failover"),
                ("failover", b""),
            ):
                (modules / f"{name}.ko").write_bytes(b"\0depends=" + depends + b"\0")
        return ""

    monkeypatch.setattr(microvm_image, "_command", command)

    verb, why = make("true", proxy=PROXY).hear()
    assert verb == "failed"
    assert "doctor --prepare microvm" in why
    assert "\n" not in why

    microvm_image.prepare()
    assert sorted(path.name for path in (guest / "modules").iterdir()) == [
        "failover.ko",
        "net_failover.ko",
        "virtio_net.ko",
    ]
    assert (guest / "vmlinux").read_bytes() == b"\x7fELF newer"
    assert os.listdir(guest.parent) == ["guest"]
    asked.clear()
    microvm_image.prepare()
    assert asked == []


@pytest.mark.slow
def test_a_kernel_without_the_device_is_said_in_one_line(
    make: Maker, networked: None, tmp_path: Path
) -> None:
    modules = tmp_path / "modules"
    shutil.copytree(microvm_image.cache() + "/guest/modules", modules)
    (modules / "virtio_net.ko").unlink()

    verb, why = make("true", proxy=PROXY, options={"modules": str(modules)}).hear()

    assert verb == "failed"
    assert "virtio_net" in why
    assert "\n" not in why


# What is not asked for is not there


def test_without_hosts_there_is_no_device_and_nothing_of_one(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(microvm_network, "_DEVICE", "/nowhere/tun")
    monkeypatch.setattr(microvm_image, "check_network", None)

    machine = make("sh", "-c", "ls /sys/class/net; cat /proc/modules").start()
    command = Path(f"/proc/{machine.qemu}/cmdline").read_text()
    said = machine.read().decode()

    assert machine.facts["files"] == ["parting"]
    assert "tap" not in command
    assert "virtio-net" not in command
    assert said.split("\n", 1)[0] == "lo"
    assert "virtio_blk" in said
    assert "virtio_net" not in said


# The guest


class _Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")
        with suppress(OSError):
            while self.path == "/stream":
                self.wfile.write(b"more\n")
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a host that answers, on this host's loopback."""
    one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hello)
    one.daemon_threads = True
    threading.Thread(target=one.serve_forever, daemon=True).start()
    yield one.server_address[1]
    one.shutdown()
    one.server_close()


def _named(machine: Machine) -> dict[str, socket.socket]:
    """The sockets that a cell handed over; they are the caller's."""
    words = machine.facts["files"]
    return {
        word: socket.socket(fileno=file)
        for word, file in zip(words, machine.files[1:], strict=True)
        if word != "parting"
    }


def _serve(listener: socket.socket, hosts: list[str]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            proxy.serve(listener, hosts, None, parent)
        finally:
            os._exit(1)
    return pid


_TRY = """
plain() { wget -q -O - "$1" 2>&1 | head -n 1; }
tunnel() {
  printf 'CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\nGET / HTTP/1.0\\r\\n\\r\\n' "$1" "$1" |
    nc -w 20 $GATE PORT 2>/dev/null | grep -E '^HTTP|^hello' | tr -d '\\r'
}
export http_proxy=http://$GATE:PORT
plain http://127.0.0.1:SERVER/
tunnel 127.0.0.1:SERVER
plain http://127.0.0.1:OTHER/
tunnel 127.0.0.1:OTHER
plain http://localhost:SERVER/
echo direct
for port in CLOSED SERVER; do
  nc -w 5 $GATE $port </dev/null 2>/dev/null && echo "reached port $port"
done
for address in OTHERS; do
  for port in 22 80 PORT SERVER; do
    nc -w 5 $address $port </dev/null 2>/dev/null && echo "reached $address $port"
  done
done
nc -w 20 $GATE GATEWAY </dev/null
cat /proc/net/if_inet6 2>/dev/null
ls /sys/class/net
grep -c eth0 /proc/net/route
"""


@pytest.mark.slow
def test_the_guest_reaches_named_hosts_through_the_proxy_and_nothing_else(
    make: Maker, networked: None, server: int
) -> None:
    others = [GUEST, "192.0.2.3", "10.0.0.1", "10.0.2.2", "169.254.169.254", "8.8.8.8", *_own_addresses()]
    script = f"GATE={GATE}\n" + _TRY
    for word, value in (
        ("GATEWAY", GATEWAY), ("PORT", PROXY), ("SERVER", server), ("OTHERS", " ".join(others)),
        ("OTHER", server + 1), ("CLOSED", " ".join(map(str, _CLOSED))),
    ):  # fmt: skip
        script = script.replace(word, str(value))
    machine = make("sh", "-c", script, proxy=PROXY, gateway=GATEWAY)
    facts = machine.ready()
    assert facts["files"] == ["parting", "listener", "gateway"]
    sockets = _named(machine)
    child = _serve(sockets["listener"], [f"127.0.0.1:{server}"])
    answering = threading.Thread(target=_answer, args=(sockets["gateway"],))
    answering.start()
    try:
        machine.go()
        said = machine.read().decode().splitlines()
        assert machine.exit() == 0
        machine.gone()
        held = _seen_in(sockets["listener"]) if os.geteuid() == 0 else {"devices": ["lo"]}
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for one in sockets.values():
            one.shutdown(socket.SHUT_RDWR)
            one.close()
        answering.join(PATIENCE)
    assert said == [
        "hello",
        "HTTP/1.1 200 Connection established", "HTTP/1.0 200 OK", "hello",
        "wget: server returned error: HTTP/1.1 403 Host not allowed: 127.0.0.1:" + str(server + 1),
        f"HTTP/1.1 403 Host not allowed: 127.0.0.1:{server + 1}",
        f"wget: server returned error: HTTP/1.1 403 Host not allowed: localhost:{server}",
        "direct",
        "from the gateway",
        "eth0", "lo",
        "1",
    ]  # fmt: skip
    # With QEMU its device is gone, whoever still holds the sockets.
    assert held["devices"] == ["lo"]
    assert machine.tidy() == []


def _answer(listener: socket.socket) -> None:
    with suppress(OSError):
        inner, _ = listener.accept()
        with inner:
            inner.sendall(b"from the gateway\n")


@pytest.mark.slow
@as_root
def test_the_hypervisor_has_the_device_and_not_its_namespace(make: Maker, networked: None) -> None:
    machine = make("sleep", "1000", proxy=PROXY)
    machine.ready()
    (listener,) = _named(machine).values()
    with listener:
        namespace = fcntl.ioctl(listener, _SIOCGSKNS)
        inode = os.fstat(namespace).st_ino
        os.close(namespace)
        machine.go()
        held = [os.readlink(path) for path in Path(f"/proc/{machine.qemu}/fd").iterdir()]
        assert held.count("/dev/net/tun") == 1
        assert [one for one in held if one.startswith("net:")] == []
        status = Path(f"/proc/{machine.qemu}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "Seccomp:\t2" in status
        assert machine.facts["bounds"]["hypervisor's network"]
        # Nobody lives in it, and QEMU alone has the device: not the cell, nor who made it.
        assert _holders(f"net:[{inode}]") == []
        assert _holders("/dev/net/tun", above=machine.pid) == [machine.qemu]
        signal.pidfd_send_signal(machine.hypervisor, signal.SIGKILL)
        machine.gone()
        machine.reap()
        assert _seen_in(listener)["devices"] == ["lo"]


def _holders(what: str, above: int | None = None) -> list[int]:
    """Processes that have something open or live in it; only ``above`` and its children, if that is named."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            if above is not None and pid != above:
                parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) != above:
                    continue
            links = [
                f"/proc/{pid}/ns/net",
                *(f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")),
            ]
            if any(os.readlink(link) == what for link in links):
                found.append(pid)
    return found


@pytest.mark.slow
@as_root
def test_an_ordinary_user_has_a_way_out_too(
    make: Maker, networked: None, server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = Path(microvm_image.__file__).parents
    if not all(path.stat().st_mode & 0o005 == 0o005 for path in sources):
        pytest.skip("an ordinary user cannot read this package")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        shutil.copytree(microvm_image.cache() + "/guest", top / "offswitch" / "microvm" / "guest")
        for name in ("workspace", "scratch"):
            (top / name).mkdir()
        for path in (top, *top.rglob("*")):
            os.chown(path, 54321, 54321)
        if os.stat("/dev/net/tun").st_mode & 0o006 != 0o006:
            # Here it is root's alone; on most machines everybody may use it.
            os.mknod(top / "tun", stat.S_IFCHR | 0o666, os.makedev(10, 200))
            (top / "tun").chmod(0o666)
            monkeypatch.setattr(microvm_network, "_DEVICE", str(top / "tun"))
        monkeypatch.setenv("XDG_CACHE_HOME", folder)
        script = (
            f"http_proxy=http://{GATE}:{PROXY} wget -q -O - http://127.0.0.1:{server}/; nc -w 5 {GATE} 22"
        )
        machine = make(
            "sh", "-c", script, user=54321, proxy=PROXY,
            workspace=str(top / "workspace"), scratch=str(top / "scratch"),
        )  # fmt: skip
        message = machine.hear()
        if message[0] == "failed" and ("namespace" in message[1] or "tap" in message[1]):
            pytest.skip(message[1])
        assert message[0] == "ready", message
        machine.facts, machine.hypervisor = message[1], machine.files[0]
        machine.monitor = socket.socket(fileno=machine.files[1])
        (listener,) = _named(machine).values()
        child = _serve(listener, [f"127.0.0.1:{server}"])
        machine.go()
        assert machine.read() == b"hello\n"
        assert b"refused" in machine.read(file=machine.errors)
        assert machine.exit() == 1
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        listener.close()


# Supervised


@pytest.fixture
def ground(tmp_path: Path, networked: None) -> Iterator[Ground]:
    one = Ground(tmp_path)
    yield one
    one.close()


@pytest.mark.slow
@pytest.mark.parametrize("category", [0, 1])
def test_a_stop_of_either_category_leaves_nothing_of_the_network(
    ground: Ground, server: int, category: int
) -> None:
    page = f"http://127.0.0.1:{server}"
    script = (
        f"export http_proxy=http://{GATE}:{PROXY}; trap 'echo told >/workspace/told; exit 3' TERM;"
        f"wget -q -O - {page}/ && echo up; wget -q -O /dev/null {page}/stream & while :; do sleep 0.1; done"
    )
    running = ground.start(
        "", argv=["sh", "-c", script], sandbox="microvm", memory=192 << 20,
        hosts=[f"127.0.0.1:{server}"], proxy=PROXY,
    )  # fmt: skip
    output = Path(ground.places.logs("agent"), "output")
    eventually(lambda: b"up" in output.read_bytes(), PATIENCE)
    family = list(ground.family(running).values())
    assert len(_taps(family)) == 1

    answer = ground.ask(do="stop", order=None, **({"category": 1, "grace_ms": 20_000} if category else {}))

    receipt = opened(answer["receipt"])
    assert receipt["dead"]
    assert receipt["survivors"] == []
    assert receipt["network"]["cut"]
    assert _taps(family) == []
    eventually(lambda: not any(map(alive, family)), PATIENCE)
    # Told before it was cut: its word is in the workspace that came back.
    assert (ground.workspace / "told").exists() == bool(category)


def _taps(family: list[int]) -> list[int]:
    """Who has a tap of ours open, of some processes and their children."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if pid in family or parent in family:
                about = "".join(path.read_text() for path in Path(f"/proc/{pid}/fdinfo").iterdir())
                found += [pid] if "iff:\tgate" in about else []
    return found


@pytest.mark.parametrize(
    ("kind", "gate"), [("bubblewrap", "127.0.0.1"), ("oci", "127.0.0.1"), ("microvm", GATE)]
)
def test_a_plan_leads_to_the_gate_of_its_kind(tmp_path: Path, kind: str, gate: str) -> None:
    (tmp_path / "work").mkdir()
    made = planning.plan(
        places.find(str(tmp_path / "state")), ["true"], name="x", workspace=str(tmp_path / "work"), sandbox=kind,
        policy=policy.parse(b"version: 1\nnetwork: {hosts: [a.org]}"),
    )  # fmt: skip

    assert cells.gate(kind) == gate
    assert {value for name, value in made["environment"].items() if name.lower().endswith("s_proxy")} == {
        f"http://{gate}:{PROXY}"
    }
