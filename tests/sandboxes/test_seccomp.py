"""What an agent may not ask of the kernel: each rule with and without the filter, and tools that must go on working."""

import ctypes
import errno
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from offswitch.sandboxes import seccomp, wire
from offswitch.sandboxes.seccomp import _CALLS

pytestmark = pytest.mark.skipif(
    os.uname().machine not in ("x86_64", "aarch64"), reason="there is no system call filter for this machine"
)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root sees these calls do anything without a filter"
)

COLUMN = 0 if os.uname().machine == "x86_64" else 1
NOBODY = ["--unshare-user", "--unshare-pid", "--unshare-net", "--uid", "1000", "--gid", "1000"]
ROOT = ["--unshare-pid", "--unshare-net", "--unshare-uts", "--cap-add", "ALL"]

# Tries system calls and prints what came of each. Every call is given arguments that do nothing.
CALLER = """
import ctypes, errno, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
results = []
for number, arguments in json.loads(sys.argv[1]):
    converted = [ctypes.c_char_p(a.encode()) if isinstance(a, str) else ctypes.c_long(a) for a in arguments]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *converted)
    results.append(ctypes.get_errno() if result < 0 else 0)
print(json.dumps(results))
"""
# Some hosts, virtual machines among them, refuse these to root too.
REFUSED_TO_ROOT = {"reboot", "swapon", "swapoff", "acct", "syslog"}
BAD = 1  # an address that is never mapped

# name, arguments, answer under the filter
PROBES: list[tuple[str, list[int | str], int]] = [
    ("io_uring_setup", [0, 0], errno.ENOSYS),
    ("io_uring_enter", [-1, 0, 0, 0, 0, 0], errno.ENOSYS),
    ("io_uring_register", [-1, 0, 0, 0], errno.ENOSYS),
    ("keyctl", [0, -3, 0], errno.ENOSYS),
    ("add_key", [BAD, BAD, 0, 0, 0], errno.ENOSYS),
    ("request_key", [BAD, BAD, 0, 0], errno.ENOSYS),
    ("clone3", [0, 0], errno.ENOSYS),
    ("openat2", [-100, "/", 0, 0], errno.ENOSYS),
    ("unshare", [0x10000000], errno.EPERM),
    ("unshare", [0x00020000], errno.EPERM),
    ("unshare", [0x80], errno.EPERM),
    ("clone", [0x10000000], errno.EPERM),
    ("setns", [-1, 0], errno.EPERM),
    ("mount", [BAD, BAD, BAD, 0, 0], errno.EPERM),
    ("umount2", [BAD, 0], errno.EPERM),
    ("move_mount", [-1, BAD, -1, BAD, 0], errno.EPERM),
    ("open_tree", [-100, BAD, 1], errno.EPERM),
    ("fsopen", [BAD, 0], errno.EPERM),
    ("fsconfig", [-1, 99, 0, 0, 0], errno.EPERM),
    ("fsmount", [-1, 0, 0], errno.EPERM),
    ("fspick", [-1, BAD, 0], errno.EPERM),
    ("mount_setattr", [-1, BAD, 0, 0, 0], errno.EPERM),
    ("pivot_root", [BAD, BAD], errno.EPERM),
    ("chroot", [BAD], errno.EPERM),
    ("open_by_handle_at", [-1, BAD, 0], errno.EPERM),
    ("bpf", [0, BAD, 8], errno.EPERM),
    ("perf_event_open", [BAD, 0, -1, -1, 0], errno.EPERM),
    ("userfaultfd", [0xFF], errno.EPERM),
    ("kexec_load", [0, 1 << 20, 0, 0], errno.EPERM),
    ("kexec_file_load", [-1, -1, 0, 0, 0], errno.EPERM),
    ("init_module", [0, 0, 0], errno.EPERM),
    ("finit_module", [-1, BAD, 0], errno.EPERM),
    ("delete_module", [BAD, 0], errno.EPERM),
    ("reboot", [0, 0, 0, 0], errno.EPERM),
    ("swapon", [BAD, 0], errno.EPERM),
    ("swapoff", [BAD], errno.EPERM),
    ("acct", [BAD], errno.EPERM),
    ("quotactl", [-1, BAD, 0, 0], errno.EPERM),
    ("quotactl_fd", [-1, -1, 0, 0], errno.EPERM),
    ("syslog", [10, 0, 0], errno.EPERM),
    ("lookup_dcookie", [0, BAD, 0], errno.EPERM),
    ("settimeofday", [BAD, 0], errno.EPERM),
    ("clock_settime", [0, BAD], errno.EPERM),
    ("adjtimex", [BAD], errno.EPERM),
    ("clock_adjtime", [0, BAD], errno.EPERM),
    ("ioctl", [0, 0x5412, BAD], errno.EPERM),
    ("ioctl", [0, 0x541C, BAD], errno.EPERM),
    ("socket", [40, 1, 0], errno.EAFNOSUPPORT),  # AF_VSOCK
    ("socket", [17, 3, 0], errno.EAFNOSUPPORT),  # AF_PACKET
    ("socket", [38, 5, 0], errno.EAFNOSUPPORT),  # AF_ALG
    ("socketpair", [30, 1, 0, BAD], errno.EAFNOSUPPORT),  # AF_TIPC
    ("open", ["/tmp/made", os.O_CREAT | os.O_WRONLY, 0o4755], errno.EPERM),
    ("open", ["/tmp", os.O_TMPFILE | os.O_WRONLY, 0o4755], errno.EPERM),
    ("openat", [-100, "/tmp/made", os.O_CREAT | os.O_WRONLY, 0o4755], errno.EPERM),
    ("openat", [-100, "/tmp/made", os.O_CREAT | os.O_WRONLY, 0o2755], errno.EPERM),
    ("creat", ["/tmp/made", 0o4755], errno.EPERM),
    ("chmod", ["/tmp", 0o4777], errno.EPERM),
    ("chmod", ["/tmp", 0o2777], errno.EPERM),
    ("fchmodat", [-100, "/tmp", 0o4777], errno.EPERM),
    ("fchmodat2", [-100, "/tmp", 0o4777, 0], errno.EPERM),
    ("mknodat", [-100, "/tmp/node1", 0o104755, 0], errno.EPERM),
    ("mknod", ["/tmp/node2", 0o104755, 0], errno.EPERM),
]


def run(
    command: list[str], *, filtered: bool, place: list[str] = NOBODY, more: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in bubblewrap, under the filter or not."""
    arguments = [
        "bwrap", *place, "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
        "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev",
        "--tmpfs", "/tmp", "--ro-bind-try", "/etc/alternatives", "/etc/alternatives", "--setenv", "HOME", "/tmp",
        "--setenv", "PATH", "/usr/bin:/bin", "--chdir", "/tmp", *(more or []),
    ]  # fmt: skip
    files = [wire.in_memory(seccomp.program(), inheritable=True)] if filtered else []
    arguments += ["--seccomp", str(files[0])] if filtered else []
    try:
        return subprocess.run(
            [*arguments, "--", *command], pass_fds=files, capture_output=True, text=True, timeout=120, cwd="/"
        )
    finally:
        for file in files:
            os.close(file)


def answers(probes: list[tuple[int, list[int | str]]], *, filtered: bool, place: list[str]) -> list[int]:
    ended = run(["/usr/bin/python3", "-c", CALLER, json.dumps(probes)], filtered=filtered, place=place)
    assert ended.returncode == 0, ended.stderr
    return list(json.loads(ended.stdout))


@needs_root
def test_each_call_is_refused_under_the_filter_and_gets_another_answer_without() -> None:
    here = [
        (name, arguments, answer) for name, arguments, answer in PROBES if _CALLS[name][COLUMN] is not None
    ]
    probes = [(_CALLS[name][COLUMN] or 0, arguments) for name, arguments, _ in here if name != "clone"]
    with_filter = answers(probes, filtered=True, place=ROOT)
    without = answers(probes, filtered=False, place=ROOT)
    expected = [answer for name, _, answer in here if name != "clone"]
    names = [f"{name} {arguments}" for name, arguments, _ in here if name != "clone"]
    assert dict(zip(names, with_filter, strict=True)) == dict(zip(names, expected, strict=True))
    # Where this kernel lacks the call, nothing can be seen of the filter.
    lacking = {errno.ENOSYS, errno.EAFNOSUPPORT}
    same = [n for n, a, b in zip(names, without, expected, strict=True) if a == b and a not in lacking]
    assert {name.split()[0] for name in same} <= REFUSED_TO_ROOT
    differing = sum(a != b for a, b in zip(without, expected, strict=True))
    assert differing >= len(names) - 12


def test_no_namespace_can_be_made_under_the_filter() -> None:
    for command in (["unshare", "-U", "true"], ["unshare", "-Urn", "true"]):
        assert run(command, filtered=False).returncode == 0
        assert "not permitted" in run(command, filtered=True).stderr
    clone = (
        "import ctypes, os, signal\n"
        "flags = ctypes.c_long(0x10000000 | signal.SIGCHLD)\n"
        f"pid = ctypes.CDLL(None, use_errno=True).syscall({_CALLS['clone'][COLUMN]}, flags, 0, 0, 0, 0)\n"
        "if pid == 0: os._exit(0)\n"
        "print(pid > 0)"
    )
    assert run(["python3", "-c", clone], filtered=False).stdout.strip() == "True"
    assert run(["python3", "-c", clone], filtered=True).stdout.strip() == "False"


def test_a_mode_without_a_set_id_bit_goes_through_and_open_looks_at_it_only_when_creating() -> None:
    script = (
        "import os\n"
        "os.chmod('/tmp', 0o1777); os.mkdir('/tmp/d', 0o6755)\n"
        "os.close(os.open('/tmp/f', os.O_CREAT | os.O_RDWR, 0o755))\n"
        "os.close(os.open('/tmp/f', os.O_RDONLY, 0o4755)); os.mkfifo('/tmp/p', 0o600)\n"
        "fd = os.open('/tmp/f', os.O_RDWR)\n"
        "for bits in (0o4755, 0o2755, 0o6755):\n"
        "    try: os.fchmod(fd, bits); print('set')\n"
        "    except PermissionError: print('refused')\n"
        "print(oct(os.stat('/tmp/d').st_mode))"
    )
    assert run(["python3", "-c", script], filtered=True).stdout.split() == ["refused"] * 3 + ["0o40755"]
    assert run(["python3", "-c", script], filtered=False).stdout.split()[:3] == ["set"] * 3


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86_64 has calls of two other machines")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_the_calls_of_other_machines_are_absent(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(
        "#include <stdio.h>\n#include <unistd.h>\n#include <errno.h>\n#include <sys/syscall.h>\n"
        'int main(void) { long r; __asm__ volatile ("int $0x80" : "=a"(r) : "a"(20L) : "memory");\n'  # getpid
        'errno = 0; long x = syscall(0x40000000 + 39); printf("%d %d", r > 0, x > 0);\n'
        'errno = 0; x = syscall(500); printf(" %d", errno); }\n'
    )
    subprocess.run(["gcc", "-o", tmp_path / "a", tmp_path / "a.c"], check=True)
    program = ["--ro-bind", str(tmp_path), "/tmp/here"]
    filtered = run(["/tmp/here/a"], filtered=True, more=program)
    assert filtered.stdout == f"0 0 {errno.ENOSYS}"
    without = run(["/tmp/here/a"], filtered=False, more=program)
    if without.returncode < 0 or not without.stdout.startswith("1"):
        pytest.skip("this kernel runs no i386 programs")


TOOLS = {
    "python3": """python3 -c 'import threading as t
x = [t.Thread(target=print) for _ in range(9)]
for a in x: a.start()'""",
    "asyncio": "python3 -c 'import asyncio; asyncio.run(asyncio.create_subprocess_exec(\"true\"))'",
    "processes": "python3 -c 'import multiprocessing as m; print(m.Pool(2).map(abs, [-1]))'",
    "sockets": """python3 -c 'import socket as s
a = s.create_server(("127.0.0.1", 0)); s.create_connection(a.getsockname())'""",
    "bash": "bash -c 'x=$(seq 3 | sort -r | head -1); (sleep 0 &); wait; test $x = 3'",
    "git": "git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && git gc -q"
    " && git worktree add -q ../w",
    "tar": "mkdir d && echo x >d/f && chmod 755 d/f && tar czf d.tgz d && rm -r d && tar xpzf d.tgz && cp -a d e",
    "gcc": "echo 'int main(void){return 0;}' >a.c && gcc -pthread a.c -o a && ./a",
    "node": """node -e 'require("fs").promises.writeFile("x", "y").then(
        () => require("child_process").execSync("ls"))'""",
    "npm": """mkdir -p p q && echo '{"name":"p","version":"1.0.0"}' >p/package.json && cd q &&
        npm install --offline --no-audit --no-fund --install-links ../p && test -e node_modules/p/package.json""",
    "strace": "strace -f -o trace true && grep -q execve trace",
    "gdb": "gdb -batch -ex run -ex quit --args true",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_ordinary_tools_work_under_the_filter(tool: str) -> None:
    program = TOOLS[tool].split()[0] if tool not in ("git", "tar", "gcc", "npm") else tool
    if shutil.which(program, path="/usr/bin") is None:
        pytest.skip(f"{program} is not installed")
    ended = run(["bash", "-ec", TOOLS[tool]], filtered=True, more=["--dev-bind-try", "/dev/shm", "/dev/shm"])
    assert ended.returncode == 0, ended.stderr + ended.stdout


def test_a_process_puts_itself_under_the_filter() -> None:
    script = (
        "import os, sys; from offswitch.sandboxes import seccomp\n"
        "seccomp.apply()\n"
        "print(open('/proc/self/status').read())\n"
        "try: os.chmod('.', 0o4755)\n"
        "except PermissionError: print('refused')"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/var/tmp")
    assert "Seccomp:\t2" in ended.stdout
    assert "NoNewPrivs:\t1" in ended.stdout
    assert "refused" in ended.stdout


def judge(program: bytes, architecture: int, number: int, arguments: list[int]) -> int:
    """What a kernel would answer: the few instructions of classic BPF that the filter is made of."""
    data = struct.pack(
        "=iIQ6Q", number, architecture, 0, *[a & (2**64 - 1) for a in (*arguments, *[0] * 6)[:6]]
    )
    at, held = 0, 0
    while True:
        code, then, otherwise, value = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        if code == 0x20:
            held = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return int(value)
        elif code == 0x54:
            held &= value
        elif code == 0x05:
            at += value
        else:
            met = {0x15: held == value, 0x25: held > value, 0x35: held >= value, 0x45: bool(held & value)}[
                code
            ]
            at += then if met else otherwise


@pytest.mark.parametrize(
    ("machine", "column", "architecture"), [("x86_64", 0, 0xC000003E), ("aarch64", 1, 0xC00000B7)]
)
def test_both_machines_have_the_same_rules(machine: str, column: int, architecture: int) -> None:
    program = seccomp.program(machine)
    for name, arguments, answer in PROBES:
        number = _CALLS[name][column]
        if number is not None:
            plain = [a if isinstance(a, int) else 0 for a in arguments]
            assert judge(program, architecture, number, plain) == 0x50000 | answer, name
            assert judge(program, architecture ^ 1, number, plain) == 0x50000 | errno.ENOSYS
    judged = {numbers[column] for numbers in _CALLS.values()}
    assert all(
        judge(program, architecture, number, [0x7FFFFFFF] * 6) == 0x7FFF0000
        for number in range(467)
        if number not in judged
    )
    assert judge(program, architecture, 467, []) == 0x50000 | errno.ENOSYS
    assert judge(program, architecture, _CALLS["clone"][column] or 0, [17]) == 0x7FFF0000
    for family in (1, 2, 10, 16):
        assert judge(program, architecture, _CALLS["socket"][column] or 0, [family]) == 0x7FFF0000
    assert {name for name, *_ in PROBES} >= set(_CALLS) - {"fchmod", "uselib", "iopl", "ioperm", "vhangup"}


class _Test(ctypes.Structure):
    """``struct scmp_arg_cmp``."""

    _fields_ = [
        ("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64),
    ]  # fmt: skip


def compiled(profile: dict[str, Any]) -> bytes:
    """What libseccomp makes of a profile, as the container runtimes use it."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp is not installed")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(0x50000 | profile["defaultErrnoRet"]))
    try:
        for rule in profile["syscalls"]:
            action = 0x7FFF0000 if rule["action"] == "SCMP_ACT_ALLOW" else 0x50000 | rule["errnoRet"]
            tests = [_Test(one["index"], 7, one["value"], one["valueTwo"]) for one in rule["args"]]
            for name in rule["names"]:
                number = library.seccomp_syscall_resolve_name(name.encode())
                if number != -1:
                    array = (_Test * len(tests))(*tests)
                    added = library.seccomp_rule_add_array(
                        context, ctypes.c_uint32(action), number, len(tests), array
                    )
                    assert added == 0, (name, added)
        file = os.memfd_create("program")
        try:
            assert library.seccomp_export_bpf(context, file) == 0
            return os.pread(file, 1 << 20, 0)
        finally:
            os.close(file)
    finally:
        library.seccomp_release(context)


def test_the_profile_of_a_container_has_the_same_rules() -> None:
    machine = os.uname().machine
    architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    profile, program = compiled(seccomp.profile()), seccomp.program()
    absent, allowed = 0x50000 | errno.ENOSYS, 0x7FFF0000
    random = Random(1)
    # Among them the higher halves of arguments, at which the kernel does not look.
    interesting = [
        0, 1, 2, 10, 16, 17, 38, 0x80, 0o100, 0o101, 0o20000000, 0o755, 0o1777, 0o2755, 0o4755, 0o6000, 0x5401, 0x5412,
        0x5413, 0x541C, 0x20000, 0x10000000, 0x40000000, 0x100005412, 0xFFFFFFFF80045430, 1 << 32, (1 << 64) - 1,
    ]  # fmt: skip
    missing = set()
    for number in range(480):
        for _ in range(60):
            given = [random.choice(interesting) | random.choice((0, *interesting)) for _ in range(6)]
            first, second = (judge(one, architecture, number, given) for one in (profile, program))
            if first != second:
                # Stricter, if anything.
                assert first == absent, (number, given)
                if second == allowed:
                    missing.add(number)
    # What no kernel has any more, numbers that stand for nothing, and what this libseccomp does not know.
    judged = {numbers[COLUMN] for name, numbers in _CALLS.items() if name != "fchmodat2"}
    assert not missing & judged
    assert {number for number in missing if number < 335} <= {
        156,
        174,
        177,
        178,
        180,
        181,
        182,
        183,
        184,
        185,
        214,
        215,
        236,
    } or machine != "x86_64"
    assert not {number for number in missing if 424 <= number < 440}
    assert judge(profile, architecture ^ 1, 1, []) == 0
    for name, arguments, answer in PROBES:
        called = _CALLS[name][COLUMN]
        if called is not None and not name.startswith("open"):
            plain = [a if isinstance(a, int) else 0 for a in arguments]
            assert judge(profile, architecture, called, plain) in (0x50000 | answer, absent), name


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_profile_names_every_call_once_as_allowed_refused_or_absent(machine: str) -> None:
    profile = seccomp.profile(machine)
    assert profile["architectures"] == ["SCMP_ARCH_" + machine.upper()]
    plain = [name for rule in profile["syscalls"] if not rule["args"] for name in rule["names"]]
    judged = {name for rule in profile["syscalls"] if rule["args"] for name in rule["names"]}
    assert len(plain) == len(set(plain))
    assert not judged & set(plain)
    assert set(_CALLS) - set(plain) - judged == set(
        "io_uring_setup io_uring_enter io_uring_register keyctl add_key request_key clone3 openat2".split()
    )


def test_another_machine_is_named_in_the_refusal() -> None:
    with pytest.raises(ValueError, match="no system call filter for riscv64"):
        seccomp.profile("riscv64")
    with pytest.raises(ValueError, match="no system call filter for riscv64"):
        seccomp.program("riscv64")
