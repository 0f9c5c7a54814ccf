"""What the status page, metrics and events need of Salt: states, the snapshot, the queue."""

import json
import os
import shutil

import pytest
from salt.exceptions import CommandExecutionError

import netboot_queue
import netboot_snapshot


def test_libraries(states, tmp_path):
    """Copies of what is imported, nothing of Salt, and none that an older version left."""
    directory = tmp_path / "lib"

    def apply(*libraries, **more):
        return states.netboot_file.libraries(name=str(directory), libraries=list(libraries), **more)

    assert apply("netboot_page", test=True).result is None
    assert not directory.exists()
    done = apply("netboot_page")
    assert done.changes == {"netboot_page.py": "new", "netboot_page_texts.py": "new"}
    assert (directory / "netboot_page.py").stat().st_mode & 0o777 == 0o644
    assert apply("netboot_page").changes == {}
    (directory / "netboot_old.py").write_text("")
    (directory / "netboot-once").write_text("")
    (directory / "netboot_page.py").write_text("")
    (directory / ".netboot.netboot_page.py.new").write_text("of a killed apply")
    assert apply("netboot_page").changes == {
        **{"netboot_page.py": "changed", "netboot_old.py": "removed"}
    }
    assert set(apply().changes.values()) == {"removed"}
    assert os.listdir(directory) == ["netboot-once"]


def test_files_that_services_read(states, tmp_path):
    """Whatever the umask was, and whoever closed them since."""
    directory = tmp_path / "a/www"
    sources = ["salt://netboot/files/page/page.css", "salt://netboot/files/page/page.js"]

    def apply(**more):
        return states.netboot_file.copied(name=str(directory), sources=sources, **more)

    before = os.umask(0o077)
    try:
        assert apply(test=True).changes == {"page.css": "new", "page.js": "new"}
        assert not directory.exists()
        assert apply().changes == {"page.css": "new", "page.js": "new"}
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (directory, directory / "page.css")] == [
        *(0o755, 0o644)
    ]
    assert apply().changes == {}
    directory.chmod(0o700)
    (directory / "page.js").chmod(0o600)
    (directory / "index.en.html").write_text("x")
    assert apply().changes == {str(directory): "mode 0755", "page.js": "changed"}
    assert apply().changes == {}
    assert (directory / "index.en.html").exists()


def test_old_file_of_metrics_is_removed(states, configured, records, tmp_path):
    configured()
    old, new = tmp_path / "old.prom", tmp_path / "new.prom"

    def apply(file, **more):
        return states.netboot_file.metrics(name="metrics", file=str(file), **more)

    for file in (old, new):
        file.write_text("x")
    assert apply("").changes == apply(old).changes == {}
    assert apply(new, test=True).changes == {str(old): "removed"}
    assert old.exists()
    assert apply(new).changes == {str(old): "removed"}
    assert not old.exists()
    assert apply(new).changes == {}
    assert apply("").changes == {str(new): "removed"}
    assert records.owned("metrics", None) is None


@pytest.fixture
def status(state_dir):
    """Beside the records, as on a real machine."""
    yield state_dir.with_name(f"{state_dir.name}-status")
    shutil.rmtree(state_dir.with_name(f"{state_dir.name}-status"), ignore_errors=True)


def test_snapshot_is_written_if_it_changed(configured, records, state_dir, status):
    """An apply that changes nothing writes no record, and its time is known all the same."""
    configured({"schedule": {"hours": 6, "splay_s": 60}})
    netboot_snapshot.write(records)
    path = state_dir / "applied/snapshot.json"
    made = json.loads(path.read_text())
    assert (made["every_s"], made["dhcp"], made["images"]) == (21660, "proxy", [])
    before = path.stat()
    os.utime(status / "applied", (1, 1))
    netboot_snapshot.write(records)
    assert path.stat() == before
    assert (status / "applied").stat().st_mtime > before.st_mtime - 60
    assert made["applied"] == str(status / "applied")


def test_no_snapshot_that_nobody_reads(configured, records, state_dir, status):
    configured({"status": {"allow": "off"}})
    netboot_snapshot.write(records)
    assert not (state_dir / "applied/snapshot.json").exists()
    assert not status.exists()


@pytest.fixture
def queue(configured, status):
    configured({"events": True})
    (status / "events").mkdir(parents=True)

    def _queue(first, last, series=7):
        events = [
            {"number": number, "mac": "52:54:00:00:00:01", "step": "local disk"}
            for number in range(first, last + 1)
        ]
        text = json.dumps({"series": series, "number": last, "events": events})
        (status / "events/queue.json").write_text(text)

    return _queue


class Bus:
    """Stand-in for event.send, as a minion with a master has it; it may refuse an event."""

    def __init__(self, refuses=0):
        self.sent, self._refuses = [], refuses

    def __call__(self, tag, data):
        if len(self.sent) + 1 == self._refuses:
            self._refuses = 0
            return False
        self.sent.append((tag, data))
        return True


def test_events_are_sent_once(records, queue):
    bus = Bus()
    assert netboot_queue.send(records, bus) == 0
    queue(1, 250)
    assert [netboot_queue.send(records, bus) for _ in range(4)] == [100, 100, 50, 0]
    assert bus.sent[0] == (
        "netboot/client/52:54:00:00:00:01/local-disk",
        {"mac": "52:54:00:00:00:01", "step": "local disk"},
    )
    queue(1, 252)
    assert netboot_queue.send(records, bus) == 2
    # 300 more than the queue keeps.
    queue(553, 560)
    assert netboot_queue.send(records, bus) == 8
    assert bus.sent[252] == ("netboot/clients/dropped", {"number": 300})
    assert len(bus.sent) == 261


def test_event_that_is_refused_is_sent_later(records, queue):
    bus = Bus(refuses=3)
    queue(1, 5)
    with pytest.raises(CommandExecutionError, match="is there a master"):
        netboot_queue.send(records, bus)
    assert netboot_queue.send(records, bus) == 3
    assert len(bus.sent) == 5


def test_no_events_unless_the_pillar_says_so(records, queue, configured):
    queue(1, 5)
    configured()
    assert netboot_queue.send(records, Bus()) == 0
