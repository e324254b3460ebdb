"""The sockets that bubblewrap's cell hands over: they stand in the agent's network and lead to the host."""

import os
import socket
import threading
from pathlib import Path

import fresh_cell
import pytest

from offswitch.sandboxes import wire

PORTS = {"listener": 3128, "gateway": 3129}


@pytest.mark.parametrize("names", [(), ("listener",), ("gateway",), ("listener", "gateway")])
def test_a_port_of_the_plan_is_a_socket_and_no_other_is_there(tmp_path: Path, names: tuple[str, ...]) -> None:
    script = "for port in 3128 3129; do (exec 3<>/dev/tcp/127.0.0.1/$port && cat <&3) 2>/dev/null; done"
    plan = {
        "name": "agent", "argv": ["/bin/bash", "-c", script], "environment": {"PATH": "/usr/bin:/bin"},
        "workspace": str(tmp_path), "read": [], "memory": 256 << 20, "pids": 64, "terminal": False,
        "home": "/tmp/home", "scratch": str(tmp_path), "options": {}, "bounds": {},
        "proxy": PORTS["listener"] if "listener" in names else None,
    }  # fmt: skip
    if "gateway" in names:
        # A plan made before there was a gateway does not name it.
        plan["gateway"] = PORTS["gateway"]
    line, theirs = wire.pair()
    out, write = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDWR)
    pid = fresh_cell.spawn("bubblewrap", theirs, plan, None, (null, write, null))
    theirs.close()
    for file in (write, null):
        os.close(file)
    try:
        message = wire.receive(line)
        assert message is not None
        told, files = message
        assert told[0] == "ready", told
        facts = told[1]
        held = dict(zip(facts["files"], files[1:], strict=True))
        assert [name for name in held if name in PORTS] == list(names)
        listening = [socket.socket(fileno=held.pop(name)) for name in names]
        answering = threading.Thread(target=_answer, args=(listening,))
        answering.start()
        wire.send(line, ("go",))
        with os.fdopen(out) as said:
            assert said.read() == "".join(f"{one.getsockname()[1]}\n" for one in listening)
        answering.join(20)
        for one in listening:
            one.close()
        for file in (files[0], *held.values()):
            os.close(file)
    finally:
        line.close()
        os.waitpid(pid, 0)


def _answer(listening: list[socket.socket]) -> None:
    for one in listening:
        one.settimeout(20)
        inner, _ = one.accept()
        with inner:
            inner.sendall(f"{one.getsockname()[1]}\n".encode())
