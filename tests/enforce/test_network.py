"""The one way out of the sandbox: a proxy outside, to the hosts that the policy names."""

import http.server
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from tests.enforce.conftest import Ground, eventually

from offswitch.enforce import launching
from offswitch.enforce.planning import PROXY

FETCH = f"""
import sys, urllib.request
proxy = urllib.request.ProxyHandler({{"http": "http://127.0.0.1:{PROXY}"}})
print(urllib.request.build_opener(proxy).open(sys.argv[1], timeout=10).read().decode())
"""


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello\n")
        if self.path == "/stream":
            try:
                while True:
                    self.wfile.write(b"more\n")
                    self.wfile.flush()
                    time.sleep(0.02)
            except OSError:
                self.server.cut.set()  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    one = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    one.daemon_threads = True
    one.cut = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=one.serve_forever, daemon=True).start()
    yield one
    one.shutdown()
    one.server_close()


def start(ground: Ground, script: str, host: str | None, **changed: object) -> launching.Running:
    (ground.workspace / "fetch.py").write_text(FETCH)
    hosts = [] if host is None else [host]
    return ground.start(script, hosts=hosts, proxy=PROXY if hosts else None, **changed)  # type: ignore[arg-type]


def test_a_host_that_the_policy_names_can_be_reached_and_no_other(
    ground: Ground, server: http.server.ThreadingHTTPServer
) -> None:
    port = server.server_address[1]
    script = f"""
        python3 fetch.py http://127.0.0.1:{port}/ > reached 2>&1
        python3 fetch.py http://127.0.0.1:{port + 1}/ > refused 2>&1
        (exec 3<>/dev/tcp/127.0.0.1/{port}) 2> direct && echo reached >> direct
        exit 0
    """
    running = start(ground, script, f"127.0.0.1:{port}", detached=False)
    assert running.wait()["code"] == 0
    assert (ground.workspace / "reached").read_text().strip() == "hello"
    assert "403" in (ground.workspace / "refused").read_text()
    assert "reached" not in (ground.workspace / "direct").read_text()
    eventually(lambda: any(one["event"] == "refused host" for one in ground.account()))
    assert [one["host"] for one in ground.account() if one["event"] == "refused host"] == [
        f"127.0.0.1:{port + 1}"
    ]


def test_without_a_policy_there_is_no_way_out(
    ground: Ground, server: http.server.ThreadingHTTPServer
) -> None:
    port = server.server_address[1]
    script = f"python3 fetch.py http://127.0.0.1:{port}/ > out 2>&1; ls /sys/class/net > devices 2>&1; exit 0"
    start(ground, script, None, detached=False).wait()
    assert "hello" not in (ground.workspace / "out").read_text()


def test_the_network_is_cut_with_the_stop(ground: Ground, server: http.server.ThreadingHTTPServer) -> None:
    port = server.server_address[1]
    start(ground, f"python3 fetch.py http://127.0.0.1:{port}/stream & touch up; wait", f"127.0.0.1:{port}")
    eventually((ground.workspace / "up").exists)
    eventually(lambda: ground.status()["processes"] > 3)
    time.sleep(0.5)
    answer = ground.ask(do="stop", order=None)
    from tests.enforce.conftest import opened

    receipt = opened(answer["receipt"])
    assert receipt["network"]["cut"]
    assert receipt["network"]["at_monotonic_us"] >= receipt["times"]["killed"]["monotonic_us"]
    assert server.cut.wait(5)  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", [signal.SIGKILL])
def test_the_loss_of_the_proxy_stops_the_agent(
    ground: Ground, server: http.server.ThreadingHTTPServer, how: signal.Signals
) -> None:
    running = start(ground, "touch up; sleep 900", f"127.0.0.1:{server.server_address[1]}")
    eventually((ground.workspace / "up").exists)
    eventually(lambda: "proxy" in ground.family(running))
    os.kill(ground.family(running)["proxy"], how)
    eventually(lambda: not ground.processes())
    eventually(lambda: ground.receipts(running))
    assert ground.receipts(running)[0]["order"]["reason"] == "its proxy was lost"


def test_a_host_that_is_none_refuses_to_start(ground: Ground) -> None:
    with pytest.raises(launching.NotStarted, match="host"):
        start(ground, "true", "http://example.org/x")
