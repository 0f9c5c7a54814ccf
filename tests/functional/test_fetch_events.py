"""News of an apply on the event bus of a real master, from a minion, and a reactor for them."""

import hashlib
import http.server
import json
import threading
import time

import pytest
from saltfactories.utils import random_string

from netboot_records import Records
from tests.conftest import CHECKOUT

from .sources import BadWeb, serving

BODY = bytes(1_000_000)


class Chat(http.server.ThreadingHTTPServer):
    """Keeps what is posted to it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.posted.append((self.headers["Content-Type"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            """Nothing."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.posted, self.released = [], threading.Event()


@pytest.fixture
def chat():
    with serving(Chat()) as server:
        yield server


@pytest.fixture
def master(salt_factories, chat):
    daemon = salt_factories.salt_master_daemon(
        random_string("master-", uppercase=False),
        overrides={
            "open_mode": True,
            "reactor": [
                {"netboot/iso/*/failed": [str(CHECKOUT / "salt/reactor/netboot_failed.sls")]}
            ],
            "netboot.webhook": f"http://127.0.0.1:{chat.server_port}/hook",
        },
    )
    with daemon.started():
        yield daemon


@pytest.fixture
def minion(master, tmp_path):
    daemon = master.salt_minion_daemon(
        random_string("netboot-", uppercase=False),
        overrides={
            "module_dirs": [str(CHECKOUT / "salt")],
            "netboot.state_dir": str(tmp_path / "records"),
        },
    )
    with daemon.started():
        yield daemon


def test_ends_of_fetches_are_events(master, minion, chat, tmp_path, configured):
    """One each: fetched, refreshed, failed; and none of the progress in between."""
    for directory in ("dist", ".staging"):
        (tmp_path / "export" / directory).mkdir(parents=True, mode=0o700)
    records = Records(str(tmp_path / "records"))
    begun = time.time()

    def fetch(body, digest=None):
        web.files["/a.iso"] = body
        checksum = {"sha256": digest or hashlib.sha256(body).hexdigest()}
        image = {"url": f"{web.url}/a.iso", "checksum": checksum}
        records.write("applied", "config", configured({"images": {"A b": image}}))
        words = ("state.single", "alt_iso.fetched", "a_b")
        return master.salt_cli(timeout=90).run(*words, minion_tgt=minion.id)

    with serving(BadWeb()) as web:
        assert fetch(BODY).returncode == 0
        assert fetch(BODY + b"2").returncode == 0
        assert fetch(BODY + b"3", "0" * 64).returncode != 0
    told = {}
    while len(told) < 3 and time.time() < begun + 60:
        time.sleep(0.2)
        tags = [(master.id, "netboot/iso/*")]
        events = master.event_listener.get_events(tags, after_time=begun)
        told = {event.tag.rpartition("/")[2]: event.data["data"] for event in events}
    assert len(events) == 3
    first, second = (hashlib.sha256(one).hexdigest() for one in (BODY, BODY + b"2"))
    assert told["fetched"]["sha256"] == told["refreshed"]["before"] == first
    assert (told["refreshed"]["image"], told["refreshed"]["sha256"]) == ("a_b", second)
    assert "a.iso" in told["failed"]["error"]
    while not chat.posted and time.time() < begun + 90:
        time.sleep(0.2)
    ((kind, said),) = chat.posted
    assert kind == "application/json"
    assert said["text"].startswith(f"{minion.id}: a.iso: ")
