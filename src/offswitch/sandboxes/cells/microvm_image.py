"""What a micro virtual machine boots: kernel, initial file system, and the root that its agent sees.

The kernel and its modules come from Debian's package for cloud machines, which ``prepare`` fetches once, at the
user's word; a run downloads nothing. They lie in ``$XDG_CACHE_HOME/offswitch/microvm`` (``~/.cache``). The initial
file system is put together anew for each run, from the host's static busybox, the modules and ``microvm_init.sh``.
"""

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress

from offswitch.sandboxes.cells import microvm_workspace

TYPE_CHECKING = False  # see ``wire``
if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = "linux-image-cloud-amd64"

PREPARE = "run `offswitch doctor --prepare microvm`, which downloads Debian's cloud kernel (27 MB)"

MODULES = ("virtio_mmio", "virtio_console", "virtio_blk", "overlay", "ext4")
"""What the guest needs, where it is not built into the kernel."""

NETWORK_MODULES = ("virtio_net",)
"""What it needs for a network device besides."""

_KEPT_ROOTS = 4


class Unprepared(Exception):
    """Something to boot is missing; the message is one line that says what to do."""


def cache() -> str:
    """Folder of the kernel and of root file systems."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (base if base.startswith("/") else os.path.expanduser("~/.cache")) + "/offswitch/microvm"


def kernel(options: "dict[str, str]") -> tuple[str, str]:
    """The kernel (an uncompressed ELF file) and the folder of its modules.

    Raises:
        Unprepared: There is none.
    """
    guest = cache() + "/guest"
    image, modules = options.get("kernel", guest + "/vmlinux"), options.get("modules", guest + "/modules")
    try:
        with open(image, "rb") as file:
            known = file.read(4) == b"\x7fELF"
    except OSError as error:
        if "kernel" in options:
            raise Unprepared(f"the kernel {image} cannot be read: {error.strerror}") from None
        raise Unprepared(f"the microvm kind has no guest kernel: {PREPARE}") from None
    if not known:
        raise Unprepared(f"{image} is not an uncompressed kernel (vmlinux): name one, or leave `kernel` out")
    if not os.path.isdir(modules):
        raise Unprepared(f"{modules} is not a folder of kernel modules: name one with the option `modules`")
    return image, modules


def check_network(options: "dict[str, str]") -> None:
    """Make sure that a guest that ``prepare`` fetched can have a network device: those of earlier versions cannot.

    Raises:
        Unprepared: It cannot.
    """
    if "modules" in options or "kernel" in options:
        # Another kernel may have it built in; the guest says so if it has none.
        return
    if not os.path.exists(f"{cache()}/guest/modules/{NETWORK_MODULES[0]}.ko"):
        raise Unprepared(f"the microvm kind's guest was prepared without a network device: {PREPARE}")


def kvm_failed() -> bool:
    """Whether a machine was seen not to come up under KVM since the host was booted."""
    try:
        with open(cache() + "/no-kvm") as noted:
            return noted.read() == _boot()
    except OSError:
        return False


def note_kvm_failure() -> None:
    """Remember it until the next boot."""
    os.makedirs(cache(), mode=0o700, exist_ok=True)
    with open(cache() + "/no-kvm", "w") as note:
        note.write(_boot())


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id") as current:
        return current.read()


def busybox() -> str:
    """The host's static busybox.

    Raises:
        Unprepared: There is none.
    """
    for path in ("/bin/busybox", "/usr/bin/busybox", "/usr/sbin/busybox", "/bin/busybox.static"):
        if os.path.exists(path) and _is_static(path):
            return path
    raise Unprepared("the microvm kind needs a static busybox: install busybox-static")


def _is_static(path: str) -> bool:
    with open(path, "rb") as file:
        head = file.read(4096)
    if head[:5] != b"\x7fELF\x02":
        return False
    (start,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    # A program header of type 3 names the interpreter, which a static program does not have.
    return all(struct.unpack_from("<I", head, start + index * size)[0] != 3 for index in range(count))


# Preparing


def prepare() -> None:
    """Fetch and unpack the guest's kernel, once; needs the network and Debian's ``apt-get`` and ``dpkg-deb``.

    Nothing is installed.

    Raises:
        Unprepared: It could not be done; the message says what to do.
    """
    try:
        kernel({})
        check_network({})
    except Unprepared:
        pass
    else:
        return
    import shutil
    import tempfile

    os.makedirs(cache(), mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        depends = _command(["apt-cache", "depends", PACKAGE], folder)
        package = next(
            (
                line.split()[1]
                for line in depends.splitlines()
                if line.strip().startswith("Depends: linux-image-")
            ),
            None,
        )
        if package is None:
            raise Unprepared(
                f"apt knows no package {PACKAGE}: run `apt-get update`, or name `kernel` and `modules`"
            )
        _command(["apt-get", "download", package], folder)
        archive = next(name for name in os.listdir(folder) if name.endswith(".deb"))
        _command(["dpkg-deb", "-x", archive, "unpacked"], folder)
        boot = f"{folder}/unpacked/boot"
        compressed = next((name for name in os.listdir(boot) if name.startswith("vmlinuz-")), None)
        if compressed is None:
            raise Unprepared(
                f"the package {package} holds no kernel: name one with the options `kernel` and `modules`"
            )
        new = f"{folder}/guest"
        os.makedirs(new + "/modules")
        with open(f"{boot}/{compressed}", "rb") as file:
            content = uncompressed(file.read())
        with open(new + "/vmlinux", "wb") as file:
            file.write(content)
        # The hypervisor reads the kernel as an ordinary user.
        os.chmod(new + "/vmlinux", 0o644)
        for path in needed_modules(f"{folder}/unpacked", (*MODULES, *NETWORK_MODULES)):
            shutil.copy(path, new + "/modules")
        old = cache() + "/guest"
        # Aside, and removed with the folder: a machine that starts meanwhile misses it for a moment only.
        with suppress(FileNotFoundError):
            os.rename(old, folder + "/old")
        os.rename(new, old)


def _command(argv: list[str], folder: str) -> str:
    import subprocess

    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        why = (
            "took longer than five minutes"
            if isinstance(error, subprocess.TimeoutExpired)
            else error.strerror
        )
        raise Unprepared(
            f"{argv[0]} {why}: the guest's kernel comes from a Debian package; elsewhere name `kernel` and `modules`"
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise Unprepared(f"`{' '.join(argv)}` failed: {said[-1] if said else done.returncode}")
    return done.stdout


def uncompressed(image: bytes) -> bytes:
    """The kernel inside a bzImage.

    Source: Documentation/arch/x86/boot.rst of the kernel (``setup_sects``, ``payload_offset``, ``payload_length``).

    Raises:
        Unprepared: It is no bzImage, or its compression is not known here.
    """
    if image[:4] == b"\x7fELF":
        return image
    if len(image) < 0x260 or image[0x202:0x206] != b"HdrS":
        raise Unprepared("the package's kernel is no bzImage: name another with `kernel` and `modules`")
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = ((image[0x1F1] or 4) + 1) * 512 + offset
    payload = image[start : start + length]
    if payload.startswith(b"\x02\x21\x4c\x18"):
        content = _lz4(payload)
    elif payload.startswith(b"\x1f\x8b"):
        import zlib

        content = zlib.decompressobj(31).decompress(payload)
    elif payload.startswith(b"BZh"):
        import bz2

        content = bz2.BZ2Decompressor().decompress(payload)
    elif payload.startswith((b"\xfd7zXZ", b"\x5d\x00\x00")):
        import lzma

        content = lzma.LZMADecompressor().decompress(payload)
    else:
        raise Unprepared("the kernel's compression is not known here: name an uncompressed one with `kernel`")
    if content[:4] != b"\x7fELF":
        raise Unprepared("the package's kernel could not be unpacked: name an uncompressed one with `kernel`")
    return content


def _lz4(data: bytes) -> bytes:
    """Unpack LZ4's legacy frame, which the kernel's build uses (lz4_Frame_format.md)."""
    whole = bytearray()
    at = 4
    while at + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        # The uncompressed size follows the last block; read as the size of a block it leads past the end.
        if size == 0 or at + size > len(data):
            break
        whole += _lz4_block(data[at : at + size])
        at += size
    return bytes(whole)


def _lz4_block(block: bytes) -> bytearray:
    out = bytearray()
    at, end = 0, len(block)
    while at < end:
        token = block[at]
        at += 1
        literals = token >> 4
        if literals == 15:
            while True:
                more = block[at]
                at += 1
                literals += more
                if more != 255:
                    break
        out += block[at : at + literals]
        at += literals
        if at >= end:
            break
        distance = block[at] | block[at + 1] << 8
        at += 2
        length = (token & 15) + 4
        if length == 19:
            while True:
                more = block[at]
                at += 1
                length += more
                if more != 255:
                    break
        start = len(out) - distance
        if distance >= length:
            out += out[start : start + length]
        else:
            out += (bytes(out[start:]) * (length // distance + 1))[:length]
    return out


# Modules


def needed_modules(folder: str, wanted: Iterable[str]) -> list[str]:
    """Paths of kernel modules below ``folder``, each after those that it depends on.

    What is not there is taken to be built into the kernel: the guest says so if it is not.
    """
    paths = {
        name.removesuffix(".ko").replace("-", "_"): f"{top}/{name}"
        for top, _, names in os.walk(folder)
        for name in names
        if name.endswith(".ko")
    }
    order: list[str] = []

    def add(name: str) -> None:
        path = paths.get(name.replace("-", "_"))
        if path is None or path in order:
            return
        with open(path, "rb") as file:
            content = file.read()
        # The section .modinfo holds NAME=VALUE, each with a NUL at its end.
        _, _, after = content.partition(b"\0depends=")
        for other in after.partition(b"\0")[0].decode().split(","):
            if other:
                add(other)
        order.append(path)

    for name in wanted:
        add(name)
    return order


# The initial file system


def archive(entries: Iterable[tuple[str, int, bytes]]) -> bytes:
    """A cpio archive of the ``newc`` format, which the kernel unpacks as its first root.

    Source: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.

    Args:
        entries: Path, mode as in ``st_mode``, content.
    """
    out = bytearray()
    for number, (path, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        name = os.fsencode(path) + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += b"\0" * (-len(out) % 4)
        out += content
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def initial(modules: str, files: "dict[str, bytes]", *, network: bool) -> bytes:
    """The guest's first root: busybox, modules, its init, and what this one run needs to know.

    Args:
        modules: Folder of kernel modules.
        files: Further files, by path.
        network: Whether the guest has a network device.
    """
    return archive(_initial_entries(modules, files, (*MODULES, *NETWORK_MODULES) if network else MODULES))


def _initial_entries(
    modules: str, files: "dict[str, bytes]", wanted: Iterable[str]
) -> Iterator[tuple[str, int, bytes]]:
    for folder in ("bin", "dev", "modules", "proc", "run", "sys", "lower", "upper", "root"):
        yield folder, 0o040755, b""
    with open(busybox(), "rb") as program:
        yield "bin/busybox", 0o100755, program.read()
    with open(os.path.dirname(__file__) + "/microvm_init.sh", "rb") as script:
        yield "init", 0o100755, script.read()
    for place, path in enumerate(needed_modules(modules, wanted)):
        with open(path, "rb") as module:
            yield f"modules/{place:02}-{os.path.basename(path)}", 0o100644, module.read()
    for name, content in files.items():
        yield name, 0o100755, content


# Roots


def root(options: "dict[str, str]", run: "Callable[[list[str]], bytes]") -> str:
    """The disk image that is the agent's root file system.

    Args:
        options: ``root`` may name an image of an ext4 file system, or a folder with an unpacked root, of which an
            image is made and kept until the folder changes. Without it the root holds busybox and nothing else.
        run: Runs a command and returns what it says; raises if it fails.

    Raises:
        Unprepared: What is named cannot be used.
    """
    named = options.get("root")
    if named is None:
        with open(busybox(), "rb") as program:
            content = program.read()
        key = f"{len(content)}-{os.stat(busybox()).st_mtime_ns}"
        path = f"{cache()}/root-busybox-{key}.ext4"
        if not os.path.exists(path):
            _make_bare_root(content, path, run)
        return path
    if os.path.isfile(named):
        return named
    if not os.path.isdir(named) or os.path.realpath(named) == "/":
        raise Unprepared(f"{named} is neither a disk image nor a folder with an unpacked root file system")
    path = f"{cache()}/root-{_fingerprint(named)}.ext4"
    if not os.path.exists(path):
        _make_root(named, path, run)
    return path


def _make_bare_root(content: bytes, path: str, run: "Callable[[list[str]], bytes]") -> None:
    import shutil

    folder = f"{cache()}/bare-{os.getpid()}"
    os.makedirs(folder, mode=0o755)
    try:
        for name in ("bin", "etc", "usr", "var"):
            os.mkdir(f"{folder}/{name}", 0o755)
        for name, target in (("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin")):
            os.symlink(target, f"{folder}/{name}")
        for name, mode, text in (
            ("bin/busybox", 0o755, content),
            ("etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n"),
            ("etc/group", 0o644, b"root:x:0:\n"),
        ):
            with open(f"{folder}/{name}", "wb") as file:
                file.write(text)
            os.chmod(f"{folder}/{name}", mode)
        for name in run([busybox(), "--list"]).decode().split():
            if name != "busybox":
                os.symlink("busybox", f"{folder}/bin/{name}")
        _make_root(folder, path, run)
    finally:
        shutil.rmtree(folder)


def _make_root(folder: str, path: str, run: "Callable[[list[str]], bytes]") -> None:
    os.makedirs(cache(), mode=0o700, exist_ok=True)
    size, count = microvm_workspace.measure(folder)
    new = f"{path}.{os.getpid()}"
    try:
        run(microvm_workspace.mke2fs(folder, new, size + (4 << 20), count, journal=False))
        if os.geteuid() != 0:
            # What an ordinary user unpacks is that user's, and would be the agent's where the numbers are the same.
            microvm_workspace.give_to(new, 0, microvm_workspace.list_of(new))
        os.rename(new, path)
    finally:
        if os.path.exists(new):
            os.unlink(new)
    kept = sorted(
        (entry.path for entry in os.scandir(cache()) if entry.name.startswith("root-")),
        key=lambda one: os.stat(one).st_mtime,
    )
    # A machine that runs from one of them holds it open, and keeps it.
    for old in kept[:-_KEPT_ROOTS]:
        os.unlink(old)


def _fingerprint(folder: str) -> str:
    import hashlib

    seen = hashlib.sha256()
    for top, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted([*folders, *names]):
            about = os.lstat(f"{top}/{name}")
            seen.update(os.fsencode(f"{top}/{name}"))
            seen.update(
                b"\0%d %d %d %d %d\n"
                % (about.st_mode, about.st_uid, about.st_gid, about.st_size, about.st_mtime_ns)
            )
    return seen.hexdigest()[:32]
