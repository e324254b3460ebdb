"""What this host can hold: each part of the off-switch tried out, and how to mend what is missing.

Everything is found out by doing it where that changes nothing, and by reading settings only to say why it failed.
"""

import ctypes
import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib import import_module

from offswitch.sandboxes import kernel
from offswitch.sandboxes.cgroups import Cgroups

OK, LIMITED, MISSING = "ok", "limited", "missing"

_PATIENCE = 20.0
"""Seconds that one program may take to say its version."""
_KVM_GET_API_VERSION, _KVM_CREATE_VM = 0xAE00, 0xAE01
_FAN_CLASS_CONTENT, _FAN_CLOEXEC = 0x04, 0x01


class Check:
    """One part of what an off-switch stands on.

    Attributes:
        name: What it is.
        state: ``ok``; ``limited`` if it works in part or something else has to serve instead; ``missing``.
        what: What was found.
        mend: What to do about it; "" where nothing is needed or can be done.
        needed: Whether the default sandbox cannot hold an agent without it.
    """

    __slots__ = ("mend", "name", "needed", "state", "what")

    def __init__(self, name: str, state: str, what: str, mend: str = "", *, needed: bool = False) -> None:
        self.name = name
        self.state = state
        self.what = what
        self.mend = mend
        self.needed = needed

    def as_dict(self) -> dict[str, object]:
        """The attributes, for JSON."""
        return {name: getattr(self, name) for name in ("name", "state", "what", "mend", "needed")}


def checks() -> list[Check]:
    """Every check, in the order in which they matter. Takes a second or two, for it starts some programs."""
    found = []
    for check in _CHECKS:
        try:
            found.append(check())
        except Exception as error:  # a doctor has to finish the round
            name = check.__name__.strip("_").replace("_", " ")
            found.append(Check(name, MISSING, f"it could not be examined: {error}"))
    return found


def able(found: Sequence[Check]) -> bool:
    """Whether the default sandbox can hold an agent here."""
    return not any(check.needed and check.state == MISSING for check in found)


def _setting(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def _version(program: str, *arguments: str) -> str:
    """The first line that a program says of itself; "" if it does not run."""
    try:
        done = subprocess.run(
            [program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return lines[0][:80] if lines and done.returncode == 0 else ""


# What the default sandbox stands on


class Unprepared(Exception):
    """A kind of sandbox could not be prepared; the message is one line that says what to do."""


def prepare(kind: str) -> None:
    """Fetch what a kind of sandbox needs beyond the host's packages; needs the network. Nothing is installed.

    Args:
        kind: ``microvm``: the guest's kernel.

    Raises:
        Unprepared: It could not be done, or there is nothing of the kind.
    """
    if kind != "microvm":
        raise Unprepared(f"there is nothing to prepare for {kind!r}: prepare microvm")
    image = import_module("offswitch.sandboxes.cells.microvm_image")
    try:
        image.prepare()
    except image.Unprepared as error:
        raise Unprepared(str(error)) from None


def _user_namespaces() -> Check:
    name = "user namespaces"
    if not os.path.exists("/proc/self/ns/user"):
        return Check(name, MISSING, "not in this kernel", "use a kernel with CONFIG_USER_NS", needed=True)
    if _setting("/proc/sys/user/max_user_namespaces") == "0":
        mend = "run as root: sysctl -w user.max_user_namespaces=15000"
        return Check(name, MISSING, "switched off (user.max_user_namespaces is 0)", mend, needed=True)
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        mend = "run as root: sysctl -w kernel.unprivileged_userns_clone=1"
        return Check(name, MISSING, "not for ordinary users", mend, needed=True)
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        mend = (
            "if bubblewrap cannot start: write to /etc/apparmor.d/bwrap the lines "
            "'abi <abi/4.0>, include <tunables/global> profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }' "
            "and run as root: apparmor_parser -r /etc/apparmor.d/bwrap"
        )
        return Check(name, LIMITED, "AppArmor gives them only to programs with a profile", mend, needed=True)
    most = _setting("/proc/sys/user/max_user_namespaces")
    return Check(name, OK, f"up to {most}" if most else "there", needed=True)


def _bubblewrap() -> Check:
    bwrap = shutil.which("bwrap")
    lacking = import_module("offswitch.sandboxes.cells.bubblewrap").missing({})
    if lacking is not None:
        return Check("bubblewrap", MISSING, lacking.partition(":")[0], lacking, needed=True)
    return Check("bubblewrap", OK, f"{_version(bwrap or 'bwrap', '--version')}; it starts", needed=True)


def _control_groups() -> Check:
    name = "control groups"
    scope = "systemd-run --user --scope -p Delegate=yes offswitch run ..."
    mend = f"run offswitch as root, or in a scope of your own: {scope}"
    groups = Cgroups()
    try:
        group = groups.open()
        if group is None:
            return Check(
                name, LIMITED, "none can be made here, so memory is not bounded for all together", mend
            )
        try:
            kill = any(os.path.exists(f"{place}/cgroup.kill") for place in group.directories)
            freeze = any(os.path.exists(f"{place}/cgroup.freeze") for place in group.directories)
        finally:
            group.remove()
        bounds = ", ".join(f"{what} by {which}" for what, which in sorted(groups.bounds.items()))
        lacks = [what for what in ("memory", "pids") if what not in groups.bounds]
        if not kill:
            return Check(
                name,
                LIMITED,
                f"no cgroup.kill, so the kill is the namespace's init's ({bounds})",
                "use Linux 5.14 or later with cgroup v2 mounted",
            )
        what = f"cgroup.kill{', cgroup.freeze' if freeze else ''}; {bounds or 'no bounds'}"
        if lacks:
            return Check(name, LIMITED, f"{what}; without {' and '.join(lacks)}", mend)
        return Check(name, OK, what)
    finally:
        groups.close()


def _landlock() -> Check:
    version = kernel.landlock_version()
    mend = "start the kernel with landlock in lsm=, such as lsm=landlock,lockdown,yama,apparmor"
    if version == 0:
        return Check("Landlock", MISSING, "not in this kernel, or not switched on", mend)
    if version < 2:
        return Check(
            "Landlock",
            LIMITED,
            f"version {version}, which does not confine tracing",
            "use Linux 5.19 or later",
        )
    return Check("Landlock", OK, f"version {version}")


def _seccomp() -> Check:
    actions = _setting("/proc/sys/kernel/seccomp/actions_avail")
    if "errno" not in actions:
        return Check(
            "seccomp",
            MISSING,
            "no filters of system calls",
            "use a kernel with CONFIG_SECCOMP_FILTER",
            needed=True,
        )
    return Check("seccomp", OK, "filters of system calls", needed=True)


def _id_mapped_mounts() -> Check:
    name = "id-mapped mounts"
    if os.geteuid() != 0:
        return Check(name, OK, "not needed: offswitch does not run as root")
    lacking = import_module("offswitch.sandboxes.workspace").supported(os.path.realpath("."))
    if lacking is not None:
        return Check(name, MISSING, lacking.partition(":")[0], lacking)
    return Check(name, OK, "of the current folder's file system")


def _clock() -> Check:
    name = "clock of leases"
    try:
        first = time.clock_gettime(time.CLOCK_BOOTTIME)
        later = time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, AttributeError):
        return Check(name, MISSING, "no CLOCK_BOOTTIME", "use Linux", needed=True)
    if later < first:
        return Check(name, MISSING, "CLOCK_BOOTTIME runs backwards", "restart this machine", needed=True)
    return Check(name, OK, "CLOCK_BOOTTIME", needed=True)


# What other sandboxes stand on


def _podman_or_docker() -> Check:
    name = "podman or docker"
    said = {
        engine: _version(path, "--version")
        for engine in ("podman", "docker")
        if (path := shutil.which(engine))
    }
    there = [version or f"{engine}, which does not run" for engine, version in said.items()]
    if not any(said.values()):
        return Check(
            name, MISSING, "; ".join(there) or "neither", "install one (Debian: apt-get install podman)"
        )
    lacking = _lacking("oci", {"image": "any"})
    if lacking is not None:
        return Check(name, LIMITED, "; ".join(there), lacking)
    return Check(name, OK, "; ".join(there))


def _gvisor() -> Check:
    runsc = shutil.which("runsc")
    if runsc is None:
        return Check(
            "gVisor", MISSING, "no runsc", "install runsc to run agents with --sandbox oci --runtime runsc"
        )
    version = _version(runsc, "--version")
    return Check(
        "gVisor",
        OK if version else MISSING,
        version or "runsc does not run",
        "" if version else "install it anew",
    )


def _kvm() -> Check:
    name = "KVM"
    try:
        device = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return Check(
            name, MISSING, "no /dev/kvm, so a microvm is emulated and slow", "switch virtualization on"
        )
    except OSError as error:
        mend = (
            "become a member of the group kvm"
            if isinstance(error, PermissionError)
            else "load the module kvm"
        )
        return Check(name, MISSING, f"/dev/kvm cannot be opened: {error.strerror}", mend)
    try:
        version = fcntl.ioctl(device, _KVM_GET_API_VERSION, 0)
        machine = fcntl.ioctl(device, _KVM_CREATE_VM, 0)
        os.close(machine)
    except OSError as error:
        return Check(
            name, MISSING, f"it starts no machine: {error.strerror}", "use a host that nests virtualization"
        )
    finally:
        os.close(device)
    if _kvm_failed():
        mend = "nothing is needed: a microvm is emulated here, and slow; a host that nests virtualization is quicker"
        return Check(name, LIMITED, "it makes machines, and a microvm did not come up in one", mend)
    return Check(name, OK, f"version {version}; it makes machines")


def _kvm_failed() -> bool:
    """Whether a microvm was seen not to come up under KVM."""
    try:
        return bool(import_module("offswitch.sandboxes.cells.microvm_image").kvm_failed())
    except (ImportError, AttributeError):
        return False


def _qemu() -> Check:
    machine = os.uname().machine
    program = f"qemu-system-{'x86_64' if machine == 'x86_64' else machine}"
    path = shutil.which(program)
    if path is None:
        return Check("QEMU", MISSING, f"no {program}", "install it (Debian: apt-get install qemu-system-x86)")
    version = _version(path, "--version")
    return Check(
        "QEMU", OK if version else MISSING, version or "it does not run", "" if version else "install it anew"
    )


def _guest_image() -> Check:
    lacking = _lacking("microvm")
    if lacking is not None:
        return Check("guest image", MISSING, lacking.partition(":")[0], lacking)
    return Check("guest image", OK, "all that a microvm needs")


def _lacking(kind: str, options: "dict[str, str] | None" = None) -> str | None:
    """What a kind of sandbox says it lacks."""
    try:
        cell = import_module(f"offswitch.sandboxes.cells.{kind}")
    except ImportError:
        return f"the sandbox {kind} is not in this offswitch: use a later version"
    missing: str | None = cell.missing(options or {})
    return missing


# What further promises stand on


def _tpm() -> Check:
    mend = "switch the TPM on in the firmware, or give the virtual machine one"
    if not os.path.exists("/dev/tpmrm0"):
        return Check("TPM", MISSING, "no /dev/tpmrm0", mend)
    if not os.access("/dev/tpmrm0", os.R_OK | os.W_OK):
        return Check("TPM", LIMITED, "/dev/tpmrm0 is not yours to open", "become a member of the group tss")
    return Check("TPM", OK, "/dev/tpmrm0")


def _fanotify() -> Check:
    libc = ctypes.CDLL(None, use_errno=True)
    file = libc.fanotify_init(_FAN_CLASS_CONTENT | _FAN_CLOEXEC, os.O_RDONLY)
    if file < 0:
        why = os.strerror(ctypes.get_errno())
        return Check("fanotify", MISSING, f"no permission events: {why}", "run offswitch as root to use it")
    os.close(file)
    return Check("fanotify", OK, "with permission events")


_CHECKS: "tuple[Callable[[], Check], ...]" = (
    _user_namespaces,
    _bubblewrap,
    _control_groups,
    _landlock,
    _seccomp,
    _id_mapped_mounts,
    _clock,
    _podman_or_docker,
    _gvisor,
    _kvm,
    _qemu,
    _guest_image,
    _tpm,
    _fanotify,
)
