"""The gateway of a run may have as many files open as the host permits."""

import json
import os
import resource
import select
import subprocess
import sys
import textwrap
from pathlib import Path

from offswitch.enforce.watchdog import rules
from offswitch.sandboxes import wire

FEW = 256


def test_the_gateway_of_a_run_takes_all_files_that_it_may(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    code = textwrap.dedent(f"""
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, ({FEW}, {hard}))
        from offswitch.enforce.watchdog import process
        process.main()
    """)
    ours, theirs = wire.pair()
    with theirs:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=theirs.fileno())
    keys = wire.in_memory(json.dumps({"keys": {}, "environment": {}}).encode())
    records = os.open(tmp_path, os.O_RDONLY)
    with ours:
        # It cannot begin, says so, and waits for the end.
        plain = {**rules.default(), "metrics": "192.0.2.1:9464"}
        begin = ("begin", os.getpid(), ("a", "r"), [("openai", "http://127.0.0.1:1")], plain)
        wire.send(ours, begin, [records, keys])
        assert select.select([ours], [], [], 60)[0]
        found = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    os.close(records)
    os.close(keys)
    assert process.wait(20) == 0
    assert found == (hard, hard) != (FEW, hard)
