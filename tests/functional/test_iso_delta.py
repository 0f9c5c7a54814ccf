"""Deltas by the real zsync: what is reused, hostile control files, kills, limits."""

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from salt.exceptions import CommandExecutionError

import iso_confined
import iso_delta
import iso_tree
import iso_zsync
from iso_choice import Choice
from iso_confined import Limits
from iso_download import Fetches, How
from lab.host import require
from tests.conftest import CHECKOUT

from .ranges import RangesWeb
from .sources import serving

RANDOM = random.Random(5)  # noqa: S311 (any bytes will do)
OLD = RANDOM.randbytes(8_000_000)
# A quarter of a percent is other, and a byte more moves the second half.
NEW = OLD[:1_000_000] + RANDOM.randbytes(20_000) + OLD[1_020_000:4_000_000] + b"x" + OLD[4_000_000:]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module", autouse=True)
def _zsync():
    require("zsync")


@pytest.fixture
def web(control):
    with serving(RangesWeb()) as server:
        server.files = {"/dist/a.iso": NEW, "/dist/a.iso.zsync": control}
        yield server


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    """A real one, with all lines that zsyncmake writes."""
    folder = tmp_path_factory.mktemp("make")
    (folder / "a.iso").write_bytes(NEW)
    subprocess.run(["zsyncmake", "-u", "a.iso", "a.iso"], cwd=folder, check=True)
    return (folder / "a.iso.zsync").read_bytes()


@pytest.fixture
def server(monkeypatch):
    """Where the old revision is, and its successor will be."""
    monkeypatch.setattr(iso_delta, "LEAST", 1_000_000)
    # Not below pytest's folder, which only root may enter.
    with tempfile.TemporaryDirectory(prefix="netboot-delta.") as base:
        os.chmod(base, 0o755)  # noqa: S103
        root = Path(base)
        (root / "dist").mkdir()
        (root / ".staging").mkdir(mode=0o700)
        (root / "dist/a.iso").write_bytes(OLD)
        yield root


def fetch(server, url, checksum=None, seeds=None, stall_timeout_s=20, coming=None):
    path = str(server / "dist/a.iso")
    how = How(
        str(server / ".staging"),
        1,
        stall_timeout_s,
        coming,
        choose=lambda sources, *_: Choice(sources, sources),
        seeds=lambda path: seeds or [path],
    )
    return Fetches(how, {}).fetch([url], path, {"sha256": checksum or sha256(NEW)})


def is_right(server, content=NEW):
    assert (server / "dist/a.iso").read_bytes() == content
    assert os.listdir(server / ".staging") == []
    return True


def test_only_what_changed_is_fetched(web, server):
    done = fetch(server, f"{web.url}/dist/a.iso")
    assert is_right(server)
    assert done["reused"] == "0.01 of 0.01 GB reused"
    assert web.sent["/dist/a.iso"] < 60_000
    assert (server / "dist/a.iso").stat().st_uid == 0


def test_old_revision_under_another_name(web, server):
    (server / "dist/a.iso").rename(server / "dist/old.iso")
    fetch(server, f"{web.url}/dist/a.iso", seeds=[str(server / "dist/old.iso")])
    assert is_right(server)
    assert web.sent["/dist/a.iso"] < 60_000


def whole(web, server, **more):
    """It comes, but as a whole."""
    done = fetch(server, f"{web.url}/dist/a.iso", **more)
    assert done["reused"] == ""
    return is_right(server) and web.sent["/dist/a.iso"] >= len(NEW)


def test_nothing_old_is_there(web, server):
    (server / "dist/a.iso").unlink()
    assert whole(web, server)
    assert [path for path, _ in web.asked] == ["/dist/a.iso"]


def test_mirror_without_a_control_file(web, server):
    del web.files["/dist/a.iso.zsync"]
    assert whole(web, server)


class Huge(bytes):
    """Of which its server says that it has 1 PiB."""

    def __len__(self):
        return 1 << 50


def test_size_that_no_disk_has(web, server):
    web.files["/dist/a.iso"] = Huge(NEW)
    with pytest.raises(CommandExecutionError, match="it has 1125899906842624 bytes, but only"):
        fetch(server, f"{web.url}/dist/a.iso")
    assert "/dist/a.iso.zsync" not in [path for path, _ in web.asked]
    assert (server / "dist/a.iso").read_bytes() == OLD


def test_small_file(web, server, monkeypatch):
    monkeypatch.setattr(iso_delta, "LEAST", 64 << 20)
    assert whole(web, server)
    assert "/dist/a.iso.zsync" not in [path for path, _ in web.asked]


def test_machine_without_zsync(web, server, monkeypatch):
    monkeypatch.setattr(iso_confined, "can_run", lambda _program: False)
    assert whole(web, server)


@pytest.mark.parametrize(
    ("url", "with_port"),
    [
        ("http://h/a.iso", "http://h:80/a.iso"),
        ("http://h:8080/a.iso", "http://h:8080/a.iso"),
        ("http://[::1]/a.iso", "http://[::1]:80/a.iso"),
        ("http://h:/a.iso", "http://h:80/a.iso"),
        ("http://192.0.2.1:3128", "http://192.0.2.1:3128"),
    ],
)
def test_port_is_in_the_url(url, with_port):
    """Without /etc/services zsync knows no other."""
    assert iso_delta._with_port(url) == with_port


@pytest.mark.parametrize(
    "url",
    ["https://h/a.iso", "http://u:p@h/a.iso", "http://h/a.iso?token", "ftp://h/a.iso", "file:///a"],
)
def test_urls_that_zsync_is_not_given(url):
    assert not iso_delta._is_reachable(url)


def line(name, value):
    """Replace the value of a line in a control file."""
    pattern = rb"\n" + name.encode() + rb": [^\n]*"
    return lambda control: re.sub(pattern, f"\n{name}: {value}".encode(), control, count=1)


HOSTILE = {
    "blocks without number": line("Blocksize", 1),
    "no power of two": line("Blocksize", 2047),
    "no blocksize": line("Blocksize", ""),
    "huge blocksize": line("Blocksize", 1 << 40),
    "other length": line("Length", len(NEW) + 1),
    "length without end": line("Length", "9" * 300),
    "negative length": line("Length", -1),
    "hashes of no length": line("Hash-Lengths", "1,0,0"),
    "long hashes": line("Hash-Lengths", "2,4,400"),
    "compressed": line("MTime", "x\nZ-Map2: 4000000000"),
    "truncated": lambda control: control[:-7],
    "more than it should have": lambda control: control + b"\0",
    "no head": lambda control: control.partition(b"\n\n")[2],
    "empty": lambda control: b"",
    "endless": lambda control: control + b"\0" * 4_000_000,
    "many lines": line("MTime", "\n".join(["X: y"] * 1000)),
    "length twice": line("MTime", "x\nLength: 1"),
    "sums of another file": lambda control: control[:-20_000] + bytes(20_000),
    "no sums that match": lambda control: (
        control.partition(b"\n\n")[0] + b"\n\n" + bytes(len(control.partition(b"\n\n")[2]))
    ),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_control_file(web, server, fault):
    web.files["/dist/a.iso.zsync"] = HOSTILE[fault](web.files["/dist/a.iso.zsync"])
    done = fetch(server, f"{web.url}/dist/a.iso")
    assert is_right(server)
    assert done["reused"] == "" or fault == "compressed"


@pytest.mark.parametrize("name", ["URL", "Filename", "Z-URL", "MTime"])
@pytest.mark.parametrize("value", ["{}/stolen", "../../../../tmp/stolen", "/tmp/stolen"])
def test_names_in_a_control_file_are_ignored(web, server, name, value):
    with serving(RangesWeb()) as elsewhere:
        given = value.format(elsewhere.url).encode()
        head = b"zsync: 0.6.2\n" + name.encode() + b": " + given
        control = re.sub(rb"\n" + name.encode() + rb": [^\n]*", b"", web.files["/dist/a.iso.zsync"])
        web.files["/dist/a.iso.zsync"] = control.replace(b"zsync: 0.6.2", head, 1)
        done = fetch(server, f"{web.url}/dist/a.iso")
        assert elsewhere.asked == []
    assert is_right(server)
    assert done["reused"]
    assert not os.path.exists("/tmp/stolen")
    assert {path for path, _ in web.asked} == {"/dist/a.iso", "/dist/a.iso.zsync"}


def test_mirror_of_another_revision(web, server):
    """Its file and its control file fit each other, but not the pillar."""
    with pytest.raises(CommandExecutionError, match="is not the expected file"):
        fetch(server, f"{web.url}/dist/a.iso", checksum="0" * 64)
    assert is_right(server, OLD)


def test_outdated_control_file(web, server):
    """Of a file of the same size: whatever zsync makes of it, the digest decides."""
    web.files["/dist/a.iso"] = NEW[::-1]
    fetch(server, f"{web.url}/dist/a.iso", checksum=sha256(NEW[::-1]))
    assert is_right(server, NEW[::-1])


def test_mirror_that_goes_away_for_zsync(web, server, monkeypatch):
    """It ends with status 0 then, and zeros in its file."""
    goes = iso_delta._with_port
    monkeypatch.setattr(iso_delta, "_with_port", lambda url: goes(url).replace("127.0.0.1", "x."))
    assert whole(web, server)


def test_mirror_that_stalls_for_zsync(web, server):
    web.stalled = ("/dist/a.iso",)
    started = time.monotonic()
    assert whole(web, server, stall_timeout_s=2)
    assert time.monotonic() - started < 15


def test_others_see_that_a_delta_goes_on(web, server):
    """Servers of its site take a fetch that shows nothing for one that has ended."""
    shown = []
    coming = SimpleNamespace(show_sometimes=lambda: shown.append(zsyncs(server)), show=list)
    web.stalled = ("/dist/a.iso",)
    assert whole(web, server, stall_timeout_s=2, coming=coming)
    assert any(shown)


KILLED = """
import sys
sys.path[:0] = ["salt/_utils", "."]
from pathlib import Path
import iso_delta
from tests.functional import test_iso_delta
iso_delta.LEAST = 1_000_000
test_iso_delta.fetch(Path(sys.argv[1]), sys.argv[2])
"""


def zsyncs(server):
    """Processes of zsync whose directory is in a staging directory."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/cwd").startswith(f"{server}/.staging"):
                found.append(int(pid))
        except OSError:
            continue
    return found


def wait_for(what):
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_killed_while_zsync_runs(web, server):
    """Nothing of it is left: neither the process nor, after the next sweep, its files."""
    web.stalled = ("/dist/a.iso",)
    words = [sys.executable, "-c", KILLED, str(server), f"{web.url}/dist/a.iso"]
    with subprocess.Popen(words, cwd=CHECKOUT) as running:
        wait_for(lambda: zsyncs(server) and len(web.asked) > 2)
        staging = server / ".staging"
        assert iso_tree.sweep(str(staging), None)["removed"] == []
        running.send_signal(signal.SIGKILL)
        running.wait()
    wait_for(lambda: not zsyncs(server))
    assert (server / "dist/a.iso").read_bytes() == OLD
    assert [name[:9] for name in iso_tree.sweep(str(staging), None)["removed"]] == ["confined-"]
    web.stalled, web.sent = (), {}
    fetch(server, f"{web.url}/dist/a.iso")
    assert is_right(server)
    assert web.sent["/dist/a.iso"] < 60_000


def test_proxy_of_the_pillar(web, server, monkeypatch):
    """zsync goes through it, too."""
    import netboot_proxy  # noqa: PLC0415

    netboot_proxy.use({"proxy": {"url": web.url, "direct": []}})
    try:
        fetch(server, "http://mirror.invalid/dist/a.iso")
    finally:
        netboot_proxy.use({})
    assert is_right(server)
    assert web.sent["/dist/a.iso"] < 60_000


# -- making them ----------------------------------------------------------------------------------


def test_control_file_is_made(server):
    (server / "dist/a.iso").write_bytes(NEW)
    made = server / "dist/a.iso.zsync"
    iso_delta.make(str(server / "dist/a.iso"), str(made), str(server / ".staging"))
    head = made.read_bytes().partition(b"\n\n")[0].decode()
    assert head.splitlines()[-1] == "URL: a.iso"
    assert iso_zsync.parsed(made.read_bytes(), len(NEW)).length == len(NEW)
    assert made.stat().st_mode & 0o777 == 0o644
    assert os.listdir(server / ".staging") == []


def test_mirror_keeps_them_in_step(states, records, configured, server, monkeypatch):
    one = {"file": "a.iso", "label": "a", "name": "A", "sources": []}
    paths = {"dist": str(server / "dist"), "staging": str(server / ".staging")}

    def apply(deltas, test=False):
        config = configured()
        records.write(
            "applied",
            "config",
            {**config, "deltas": deltas, "images": [one], "paths": {**config["paths"], **paths}},
        )
        return states.netboot_mirror.indexed("deltas", test=test)

    def verified(content):
        (server / "dist/a.iso").write_bytes(content)
        digests = {"sha256": sha256(content)}
        known = {"size": len(content), "digests": digests, "identity": {}, "verified_at": 1}
        records.write_iso("a.iso", known)

    made = server / "dist/a.iso.zsync"
    verified(OLD)
    assert apply(True, test=True).result is None
    assert not made.exists()
    assert apply(True).changes == {str(made): "made"}
    before = made.read_bytes()
    assert apply(True).changes == {}
    verified(NEW)
    again = apply(True)
    assert (again.result, again.changes) == (True, {str(made): "made"}), again.comment
    assert made.read_bytes() != before
    assert apply(False).changes == {str(made): "removed"}
    assert not made.exists()
    assert apply(False).changes == {}


# -- limits ---------------------------------------------------------------------------------------


def confined(server, script, size=1_000_000, seconds=20, stall_s=10):
    """Run a shell within the limits."""
    with iso_confined.directory(str(server / ".staging")) as path:
        return iso_confined.run(["sh", "-c", script], path, Limits(size, seconds, stall_s), {})


def test_confined_program_is_nobody(server):
    assert confined(server, "exec id -un").strip() == "nobody"
    assert confined(server, "echo mine >file && read -r line <file && echo $line") == "mine\n"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exec cat /etc/shadow", "Permission denied"),
        ("echo x >../../dist/b.iso", "Permission denied"),
        ("id; true", "fork"),
        ("exec dd if=/dev/zero of=x bs=1M count=8", "ended with"),
        ("while :; do :; done", "ended with|took more than"),
        ("exec sleep 60", "did nothing for"),
    ],
)
def test_confined_program_is_limited(server, script, said):
    with pytest.raises(CommandExecutionError, match=said):
        confined(server, script, seconds=3, stall_s=1)
    assert os.listdir(server / ".staging") == []
    assert not (server / "dist/b.iso").exists()
