"""QEMU, as the process that holds a guest: its command line, what it may reach itself, and its monitor.

A guest that broke out of its machine would be this process. So it is an ordinary user with no capabilities, in a
network namespace with nothing in it where one can be had, under Landlock with nothing to write to, and under QEMU's
own seccomp filter, which keeps it from starting programs. All its disks, sockets and its network device are opened for
it beforehand.
"""

import ctypes
import marshal
import mmap
import os
import socket
import struct
import sys
import time
from contextlib import suppress

from offswitch.sandboxes import kernel

PROGRAMS = ("/usr/bin/qemu-system-x86_64", "/usr/libexec/qemu-kvm", "/usr/local/bin/qemu-system-x86_64")

OVERHEAD = 256 * 1024 * 1024
"""Bytes that QEMU takes beyond the guest's memory; with TCG most of it are translated instructions."""

TASKS = 128
"""Threads and processes of a cell: QEMU reads and writes disks with up to 64, and ends where it cannot start one."""

_TRANSLATIONS = 64
"""Mebibytes of translated instructions that TCG keeps; its own choice would be up to 1024."""

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000

_READABLE = (
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/etc/ld.so.cache",
    "/proc",
    "/sys/devices/system",
    "/dev/urandom",
)
_WRITABLE = ("/dev/null", "/dev/kvm")

QUIT = b'{"execute":"quit"}\n'


class Refused(Exception):
    """QEMU did not start; the message says why."""


def program() -> str | None:
    """Path of QEMU, if it is there."""
    return next((path for path in PROGRAMS if os.access(path, os.X_OK)), None)


def arguments(
    accelerator: str,
    memory: int,
    cpus: int,
    kernel_file: int,
    initial: int,
    monitor: int,
    ports: "dict[str, int]",
    disks: "list[tuple[str, list[int]]]",
    tap: int | None,
) -> list[str]:
    """QEMU's command line.

    Args:
        accelerator: ``kvm`` or ``tcg``.
        memory: Bytes.
        cpus: Processors of the guest.
        kernel_file: The kernel, open.
        initial: The first root, open.
        monitor: A connected socket on which QMP is spoken.
        ports: Connected sockets, by the name of the guest's port.
        disks: Serial number, and the image opened for reading, and, if it is to be written to, once more for both: QEMU
            picks from the two as it goes.
        tap: The network device's other end, open; None for no network device.
    """
    # A guest that dies ends the hypervisor at once. Its kernel need not test its ciphers at every start.
    words = "quiet panic=-1 oops=panic reboot=t cryptomgr.notests random.trust_cpu=on"
    if accelerator == "tcg":
        # There is no timer to measure the processor's clock with: the kernel would wait for one for ever.
        words += f" tsc_early_khz={clock_of_processor()}"
    out = [
        program() or PROGRAMS[0], "-M", "microvm,acpi=on,isa-serial=off",
        "-accel", "kvm" if accelerator == "kvm" else f"tcg,thread=multi,tb-size={_TRANSLATIONS}",
        "-cpu", "host" if accelerator == "kvm" else "max", "-smp", str(cpus), "-m", f"{memory >> 20}M",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-name", "guest",
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        "-kernel", f"/proc/self/fd/{kernel_file}", "-initrd", f"/proc/self/fd/{initial}", "-append", words,
        "-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control",
        "-device", "virtio-serial-device,max_ports=8",
    ]  # fmt: skip
    for number, (name, file) in enumerate(ports.items(), 1):
        out += ["-chardev", f"socket,id={name},fd={file}"]
        out += ["-device", f"virtserialport,chardev={name},name={name},nr={number}"]
    for number, (serial, opened) in enumerate(disks, 1):
        for file in opened:
            out += ["-add-fd", f"fd={file},set={number}"]
        # Nothing here has to survive a crash of the host, and the host's cache outlives QEMU.
        drive = f"if=none,id={serial},file=/dev/fdset/{number},format=raw,cache=unsafe,file.locking=off"
        out += ["-drive", drive + (",readonly=on" if len(opened) == 1 else "")]
        out += ["-device", f"virtio-blk-device,drive={serial},serial={serial}"]
    if tap is not None:
        out += ["-netdev", f"tap,id=gate,fd={tap},vhost=off"]
        out += ["-device", "virtio-net-device,netdev=gate,mac=02:00:00:00:00:02"]
    return out


def clock_of_processor() -> int:
    """Rate of the processor's time stamp counter in kHz.

    Measured, for /proc/cpuinfo says how fast the processor runs at the moment, which is another clock.
    """
    try:
        # rdtsc; shl rdx, 32; or rax, rdx; ret
        code = bytes.fromhex("0f3148c1e2204809d0c3")
        with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as page:
            page.write(code)
            held = ctypes.c_char.from_buffer(page)
            counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(held))
            ticks, since = counter(), time.monotonic_ns()
            time.sleep(0.02)
            ticks, since = counter() - ticks, time.monotonic_ns() - since
            del counter, held
        return int(ticks * 1_000_000 // since)
    except OSError:
        with open("/proc/cpuinfo") as about:
            speed = next(line for line in about if line.startswith("cpu MHz"))
        return int(float(speed.partition(":")[2]) * 1000)


def for_kvm(user: int | None) -> "list[int] | None":
    """Groups with which a user may open ``/dev/kvm``; None where it may not, or there is none.

    Args:
        user: Host user that QEMU will be; None for the present one, with its groups.
    """
    try:
        about = os.stat("/dev/kvm")
    except OSError:
        return None
    if user is None:
        return [] if os.access("/dev/kvm", os.R_OK | os.W_OK) else None
    if about.st_mode & 0o006 == 0o006:
        return []
    return [about.st_gid] if about.st_mode & 0o060 == 0o060 and about.st_gid != 0 else None


def confine(kernel_file: int, user: int | None, groups: "list[int]") -> "dict[str, str]":
    """Give up, in the process that is about to be QEMU, all that QEMU does not need.

    Args:
        kernel_file: The guest's kernel, which it opens again by the number.
        user: Host user to become; None to stay the same.
        groups: With which groups, where the user changes.

    Returns:
        What holds QEMU itself: its user, network and files.
    """
    held = {}
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET if user is not None else _CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        held["hypervisor's network"] = "a network namespace with nothing in it"
    if user is not None:
        os.setgroups(groups)
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        held["hypervisor's user"] = str(user)
    kernel.leave_keyrings()
    kernel.give_up_privileges()
    if _read_only(libc, kernel_file):
        held["hypervisor's files"] = "Landlock"
    held["hypervisor's system calls"] = "seccomp, by QEMU itself"
    return held


def _read_only(libc: ctypes.CDLL, kernel_file: int) -> bool:
    """Let this process open what QEMU has to read, and nothing to write to; False where the kernel has no Landlock.

    Source: landlock(7).
    """
    version = kernel.landlock_version()
    if not version:
        return False
    execute, write, read, list_ = 1 << 0, 1 << 1, 1 << 2, 1 << 3
    handled = (1 << 13) - 1
    if version >= 2:
        handled |= 1 << 13
    if version >= 3:
        handled |= 1 << 14
    # TCP, both ways; then abstract sockets and signals to processes outside.
    words = struct.pack("=QQQ", handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(ctypes.c_long(444), words, ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    allowed = [(path, execute | read | list_) for path in _READABLE] + [
        (path, read | write) for path in _WRITABLE
    ]
    for path, rights in [*allowed, (f"/proc/self/fd/{kernel_file}", read)]:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not os.path.isdir(path):
            rights &= execute | read | write
        rule = struct.pack("=Qi", rights, place)
        libc.syscall(ctypes.c_long(445), ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0))
        os.close(place)
    done = libc.syscall(ctypes.c_long(446), ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)
    return bool(done == 0)


def start(
    argv: list[str], files: "list[int]", kernel_file: int, errors: int, user: int | None, groups: "list[int]"
) -> "tuple[int, dict[str, str]]":
    """Start QEMU as a child that dies with this process.

    Args:
        argv: Its command line.
        files: Open files that it is to have, under the same numbers, and no others.
        kernel_file: One of them.
        errors: Where it complains.
        user: Host user that it is to be; None for the present one.
        groups: With which groups, where the user changes.

    Returns:
        Its pid, and what ``confine`` says.
    """
    parent = os.getpid()
    told, tell = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(tell)
        with os.fdopen(told, "rb") as answer:
            said = answer.read()
        return pid, marshal.loads(said) if said else {}  # noqa: S302 - our own fork speaks
    try:
        # Again after the change of the user, which has the kernel forget it.
        kernel.die_with(parent)
        held = confine(kernel_file, user, groups)
        kernel.die_with(parent)
        null = os.open(os.devnull, os.O_RDWR)
        for target, file in enumerate((null, null, errors)):
            os.dup2(file, target)
        for file in map(int, os.listdir("/proc/self/fd")):
            if file in files or (file > 2 and file != tell):
                with suppress(OSError):
                    os.set_inheritable(file, file in files)
        os.write(tell, marshal.dumps(held))
        os.execve(argv[0], argv, {"PATH": "/usr/bin:/bin"})  # noqa: S606 - the search path is not used
    except BaseException as error:
        os.write(errors, f"{error}\n".encode())
    finally:
        os._exit(127)


def greet(monitor: socket.socket, seconds: float) -> None:
    """Lead the monitor to where it takes commands.

    Source: QEMU's docs/interop/qmp-spec.

    Raises:
        Refused: It does not answer.
    """
    monitor.settimeout(seconds)
    try:
        if b'"QMP"' not in _line(monitor):
            raise Refused("QEMU's monitor does not speak QMP")
        monitor.sendall(b'{"execute":"qmp_capabilities"}\n')
        while b'"return"' not in _line(monitor):
            pass
    except (OSError, EOFError):
        raise Refused("QEMU's monitor does not answer") from None
    finally:
        monitor.settimeout(None)


def _line(monitor: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        part = monitor.recv(1)
        if not part or len(line) > 65536:
            raise EOFError
        line += part
    return line


def is_supported() -> bool:
    """Whether QEMU's machine fits this host's processor."""
    return os.uname().machine == "x86_64" and sys.byteorder == "little"
