"""What is to be killed: seven agents that do what makes killing hard, each bounded in the number of its tasks.

Every one is the same Python program with another name; it needs nothing but the standard library, leaves a file ``up``
in its current folder once everything of it runs, and never ends by itself.
"""

PAYLOADS = {
    "ignores signals": "six processes, each ignoring every signal that can be ignored",
    "daemons": "eight daemons, each forked twice into a session of its own",
    "fork storm": "200 lineages; every process forks its successor and ends, without a pause",
    "stopped, D state": "three processes stopped by SIGSTOP, three parents in D state behind vfork",
    "allocators": "four processes that hold 96 MiB each and go on writing to it",
    "walkers": "eight lineages that fork twice and end, so that init is the parent each time",
    "threads": "18 threads of one process that spin outside Python's lock",
}
"""Names, and what each does."""

TASKS = 200
"""Lineages of the fork storm."""

PROGRAM = r"""
import ctypes, hashlib, os, signal, sys, threading, time

def up():
    os.close(os.open("up", os.O_CREAT | os.O_WRONLY, 0o666))

def sleep():
    while True:
        time.sleep(1000)

def child(act):
    if os.fork() == 0:
        try:
            act()
        finally:
            os._exit(0)

def deaf():
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass

def ignores():
    deaf()
    for _ in range(5):
        child(sleep)

def daemon():
    os.setsid()
    child(sleep)

def daemons():
    for _ in range(8):
        child(daemon)

def succeed(pause):
    while True:
        try:
            pid = os.fork()
        except OSError:
            time.sleep(0.001)
            continue
        if pid:
            os._exit(0)
        if pause:
            os.setsid()
            time.sleep(pause)

def storm():
    # All of them begin at once: among those that already storm, the first process would hardly get to fork the rest.
    gate, opened = os.pipe()

    def wait():
        os.close(opened)
        os.read(gate, 1)
        succeed(0)

    for _ in range(int(sys.argv[2])):
        child(wait)
    up()
    os.close(opened)

def walkers():
    for _ in range(8):
        child(lambda: succeed(0.002))

def vfork():
    # clone(2) with CLONE_VFORK alone: the parent waits as after vfork(2), and the memory is not shared.
    number = {"x86_64": 56}.get(os.uname().machine, 220)
    if ctypes.PyDLL(None).syscall(number, 0x4000 | signal.SIGCHLD, 0, 0, 0, 0) == 0:
        sleep()
    os._exit(1)

def stopped():
    for _ in range(3):
        child(lambda: os.kill(os.getpid(), signal.SIGSTOP))
        child(vfork)

def hold():
    memory = bytearray(96 << 20)
    while True:
        for page in range(0, len(memory), 4096):
            memory[page] = (memory[page] + 1) & 255
        open("held-%d" % os.getpid(), "w").close()

def allocators():
    for _ in range(4):
        child(hold)
    while sum(name.startswith("held-") for name in os.listdir(".")) < 4:
        time.sleep(0.002)

def spin():
    while True:
        hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)

def threads():
    for _ in range(18):
        threading.Thread(target=spin).start()

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
{"ignores signals": ignores, "daemons": daemons, "fork storm": storm, "stopped, D state": stopped,
 "allocators": allocators, "walkers": walkers, "threads": threads}[sys.argv[1]]()
time.sleep(0.02)
up()
sleep()
"""


def command(name: str) -> list[str]:
    """The command of one payload, for a system whose Python stands in ``/usr/bin``."""
    return ["/usr/bin/python3", "-I", "-S", "-c", PROGRAM, name, str(TASKS)]
