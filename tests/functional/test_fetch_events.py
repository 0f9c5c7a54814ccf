"""Progress on the event bus of a real master, from a real minion."""

import hashlib
import time

import pytest
from saltfactories.utils import random_string

from netboot_records import Records
from tests.conftest import CHECKOUT

from .sources import BadWeb, serving

BODY = bytes(10_000_000)


@pytest.fixture
def master(salt_factories):
    daemon = salt_factories.salt_master_daemon(
        random_string("master-", uppercase=False), overrides={"open_mode": True}
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


def test_progress_and_end_are_events(master, minion, tmp_path, configured):
    for directory in ("dist", ".staging"):
        (tmp_path / "export" / directory).mkdir(parents=True, mode=0o700)
    begun = time.time()
    with serving(BadWeb()) as web:
        web.files["/a.iso"] = BODY
        web.always = {"slow": 0.12}  # longer than it takes until progress is told
        checksum = {"sha256": hashlib.sha256(BODY).hexdigest()}
        config = configured({"images": {"a": {"url": f"{web.url}/a.iso", "checksum": checksum}}})
        Records(str(tmp_path / "records")).write("applied", "config", config)
        done = master.salt_cli(timeout=90).run(
            "state.single", "alt_iso.fetched", "a", minion_tgt=minion.id
        )
        assert done.returncode == 0, done
    told = {}
    while False not in told and time.time() < begun + 90:
        time.sleep(0.2)
        tag = (master.id, "netboot/iso/a.iso/fetch")
        events = master.event_listener.get_events([tag], after_time=begun)
        told = {event.data["data"]["running"]: event.data["data"] for event in events}
    assert 0 < told[True]["percent"] < 100
    assert told[False]["size"] == len(BODY)
