"""Images that wait for their wave or the window; what they were before, and back to it."""

import hashlib
import os
import time
from pathlib import Path

import pytest

import netboot_carry
from tests.functional.test_images import LABEL, NAME, Server, made, root, sha256  # noqa: F401
from tests.functional.test_killed import killed
from tests.isos import FILES, content
from tests.unit.test_netboot_pillar import resolve

FETCHED, READY = f"image-{LABEL}-fetched", f"image-{LABEL}-ready"
WAITS = "Another revision waits for its wave."


class Waves(Server):
    """A server with netboot:waves; `revise` puts another revision into the pillar."""

    def __init__(self, *args):
        super().__init__(*args)
        self.made = {name: Path(path) for name, path in self.made.items()}
        self.more = {"waves": True}

    def revise(self, file="a.iso", body="b.iso", **keys):
        path = self.web.folder / file
        path.unlink(missing_ok=True)
        os.link(self.made[body], path)
        self.name(file=file, **keys)

    def given(self, wave=None, test=False, **window):
        before = self.more
        self.more = {**before, "wave": wave} if wave else {**before, "window": window}
        try:
            return self.apply(test)
        finally:
            self.more = before

    def revision(self):
        """Of what clients get: the ISO and the tree must be the same one."""
        iso = self.root / "dist" / self.record()["file"]
        found = sha256(iso)
        assert (
            found == self.record()["iso_sha256"] == self.records.iso(str(iso))["digests"]["sha256"]
        )
        return next(name for name, path in self.made.items() if sha256(path) == found)

    def menu(self):
        return (self.root / "tftp/config-x86_64.ipxe").read_text()


@pytest.fixture
def server(modules, records, root, web, made):  # noqa: F811
    return Waves(modules, records, root, web, made)


def good(done):
    assert not {key: one["comment"] for key, one in done.items() if one["result"] is False}
    return {key: one["changes"] for key, one in done.items() if one["changes"]}


def with_sums(server, name="a.iso"):
    """The pillar follows the sum file; the server has what it says."""
    path = server.web.folder / name
    sums = server.web.folder / "SHA256SUM"
    later = sums.stat().st_mtime + 10 if sums.exists() else time.time() - 100
    sums.write_text(f"{sha256(path)}  {name}\n")
    os.utime(sums, (later, later))  # HTTP has seconds
    server.images[NAME] = {"url": f"{server.web.url}/{name}", "sums": True, "refresh": True}


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "how",
    [
        "same name",
        "refresh",
        pytest.param("new name", marks=LONG),
        pytest.param("sha512", marks=LONG),
    ],
)
def test_a_wave_and_back(server, how):
    """It waits, goes, comes back without a byte fetched, stays so, goes again, and through."""
    server.name()
    if how == "refresh":
        with_sums(server)
    server.applied()  # a new image comes at once
    assert server.revision() == "a.iso"
    menu = server.menu()
    server.revise("c.iso" if how == "new name" else "a.iso")
    if how == "refresh":
        with_sums(server)
    if how == "sha512":
        body = (server.web.folder / "a.iso").read_bytes()
        server.images[NAME]["checksum"] = {"sha512": hashlib.sha512(body).hexdigest()}
    server.web.requests.clear()
    for test in (True, False, False):
        done = server.apply(test)
        assert not {FETCHED, READY} & set(good(done)), done
        assert WAITS in done[FETCHED]["comment"]
        assert WAITS in done[READY]["comment"]
    assert not [one for one in server.web.requests if ".iso" in one]
    assert server.revision() == "a.iso"
    assert ("info", f"netboot:images:{NAME}: another revision waits for its wave.") in [
        (one["severity"], one["text"]) for one in server.modules.netboot.check()
    ]

    foretold = server.given("go", test=True)
    assert foretold[FETCHED]["result"] is None
    assert {FETCHED, READY} <= set(good(server.given("go")))
    assert server.revision() == "b.iso"
    assert "given" not in server.records.on_record()
    assert not any("held" in one for one in server.records.on_record()["images"])
    kept = server.root / ".previous"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert sha256(kept / LABEL / "iso") == sha256(server.made["a.iso"])
    assert set(content(kept / LABEL / "tree")) == set(content(server.tree()))
    assert WAITS not in server.apply()[FETCHED]["comment"]
    assert good(server.apply()) == {}
    assert not [one for one in server.modules.netboot.check() if one["key"] == "image.waits"]

    server.web.requests.clear()
    foretold = server.given("back", test=True)
    kept_in_dist = how == "new name"
    expected = (True if kept_in_dist else None, None)
    assert (foretold[FETCHED]["result"], foretold[READY]["result"]) == expected
    assert READY in good(server.given("back"))
    assert not [one for one in server.web.requests if ".iso" in one]
    assert server.revision() == "a.iso"
    assert server.menu() == menu
    assert content(server.tree()) == {name: FILES[name] for name in content(server.tree())}
    assert not kept.exists()
    for _ in range(2):
        done = server.apply()
        assert WAITS in done[READY]["comment"]
        assert not {FETCHED, READY} & set(good(done))
    assert good(server.apply()) == {}
    assert server.revision() == "a.iso"
    assert not [one for one in server.web.requests if ".iso" in one]

    good(server.given("go"))
    assert server.revision() == "b.iso"
    assert str(kept / LABEL) in good(server.given("through", test=True))["images-pruned"]
    assert kept.exists()
    assert str(kept / LABEL) in good(server.given("through"))["images-pruned"]
    assert not kept.exists()
    assert server.revision() == "b.iso"
    assert good(server.given("back")) == {}  # there is nothing to go back to


def test_a_corrupted_file_is_mended_with_the_revision_in_service(server):
    server.name()
    server.applied()
    name = "c.iso"
    server.revise(name)
    iso, live = server.root / "dist/a.iso", server.tree() / "live"
    iso.unlink()
    iso.write_bytes(b"rotten")
    live.write_bytes(b"rotten")
    assert {FETCHED, READY} <= set(good(server.apply()))
    assert server.revision() == "a.iso"
    assert content(server.tree())["live"] == FILES["live"]


@LONG
def test_pruning_leaves_what_is_in_service(server):
    server.more["prune"] = True
    server.name()
    server.applied()
    server.revise("c.iso")
    assert "images-pruned" not in good(server.apply())
    assert server.revision() == "a.iso"
    assert str(server.root / "dist/a.iso") in good(server.given("go"))["images-pruned"]
    server.web.requests.clear()
    good(server.given("back"))
    assert server.revision() == "a.iso"
    good(server.given("go"))
    assert server.revision() == "b.iso"
    assert server.web.requests == []


@LONG
def test_a_dropped_iso(server):
    """The tree alone comes back."""
    server.name(variants=["livecd"], keep_iso=False)
    server.applied()
    inode = server.tree().stat().st_ino
    server.revise(variants=["livecd"], keep_iso=False)
    assert WAITS in server.apply()[READY]["comment"]
    good(server.given("go"))
    assert server.record()["iso_sha256"] == sha256(server.made["b.iso"])
    server.web.requests.clear()
    good(server.given("back"))
    assert server.tree().stat().st_ino == inode
    assert good(server.apply()) == {}
    assert server.web.requests == []


def test_a_wave_that_fails_changes_nothing(server, tmp_path):
    server.name()
    server.applied()
    bad = tmp_path / "bad.iso"
    bad.write_bytes(b"no image")
    server.made = {**server.made, "bad.iso": bad}
    server.revise(body="bad.iso")
    done = server.given("go")
    assert done[READY]["result"] is False
    server.web.requests.clear()
    done = server.apply()
    assert WAITS in done[READY]["comment"]
    good(done)
    assert server.revision() == "a.iso"
    assert server.web.requests == []
    assert not (server.root / ".previous").exists()


def test_a_wave_that_fails_where_the_iso_is_dropped(server, tmp_path):
    """Its ISO lies under the name of the one that is not there."""
    server.name(variants=["livecd"], keep_iso=False)
    server.applied()
    bad = tmp_path / "bad.iso"
    bad.write_bytes(b"no image")
    server.made = {**server.made, "bad.iso": bad}
    server.revise(body="bad.iso", variants=["livecd"], keep_iso=False)
    assert server.given("go")[READY]["result"] is False
    server.web.requests.clear()
    good(server.apply())
    assert good(server.apply()) == {}
    assert server.record()["iso_sha256"] == sha256(server.made["a.iso"])
    assert content(server.tree())["live"] == FILES["live"]
    assert os.listdir(server.root / "dist") == []
    assert server.web.requests == []


@pytest.mark.parametrize("name", [pytest.param("a.iso", marks=LONG), "c.iso"])
def test_a_wave_after_going_back_was_killed_says_that_it_did_not_go(server, name):
    server.name()
    server.applied()
    server.revise(name)
    good(server.given("go"))
    # The first thing that going back does.
    was = server.records.previous(LABEL)
    server.records.write("previous", LABEL, {**was, "back": True})
    done = server.given("go")
    good(done)
    assert server.revision() == "a.iso"
    said = "waits for another wave, as it had to go back first."
    assert said in done[FETCHED]["comment"]
    assert said in done[READY]["comment"]
    assert WAITS in server.apply()[READY]["comment"]
    good(server.given("go"))
    assert server.revision() == "b.iso"


@pytest.mark.parametrize("name", [pytest.param("a.iso", marks=LONG), "c.iso"])
def test_going_back_by_the_iso_alone(server, name):
    """A mount has no tree to come back; the wave is not kept as if it were what was before."""
    server.name()
    server.applied()
    server.revise(name)
    good(server.given("go"))
    was = server.records.previous(LABEL)
    server.records.write("previous", LABEL, {**was, "inode": 0})
    server.web.requests.clear()
    for _ in range(2):
        good(server.given("back"))
        assert server.revision() == "a.iso"
        assert not (server.root / ".previous").exists()
    assert not [one for one in server.web.requests if ".iso" in one]


def test_what_waits_is_not_imported_over_what_is_in_service(server, tmp_path):
    server.name()
    server.applied()
    server.revise()
    disk = tmp_path / "disk"
    disk.mkdir()
    os.link(server.made["b.iso"], disk / "a.iso")

    def imported():
        pillar = {"root": str(server.root), "images": server.images, **server.more}
        config = resolve(pillar, state_dir=server.records.directory)["config"]
        return netboot_carry.import_(server.records, config, str(disk))

    (why,) = imported()["wrong"].values()
    assert why.startswith("the revision before is in service under this name")
    assert f"netboot:images:{NAME}:file" in why
    server.images[NAME]["file"] = "b.iso"
    (disk / "a.iso").rename(disk / "b.iso")
    assert list(imported()["imported"]) == ["b.iso"]
    server.web.requests.clear()
    assert WAITS in server.apply()[FETCHED]["comment"]
    assert server.revision() == "a.iso"
    good(server.given("go"))
    assert server.revision() == "b.iso"
    assert server.web.requests == []


@LONG
def test_cleaning_removes_what_is_kept(server, states):
    server.name()
    server.applied()
    server.revise()
    good(server.given("go"))
    assert (server.root / ".previous").exists()
    foretold = states.netboot_clean.served("files", images=True, test=True)
    assert str(server.root / ".previous" / LABEL) in foretold.changes
    assert states.netboot_clean.served("files", images=True).result is True
    assert not server.root.exists()


def test_wave_without_waves_is_a_mistake(server):
    server.name()
    server.more = {}
    (failed,) = server.given("go").values()
    assert "netboot:wave: requires netboot:waves: true" in failed["comment"]


def closed_window():
    """A window of two hours that is closed now."""
    hour = time.localtime().tm_hour
    return {"from": f"{(hour + 2) % 24}:00", "to": f"{(hour + 4) % 24}:00"}


@pytest.mark.parametrize("name", [pytest.param("a.iso", marks=LONG), "c.iso"])
def test_window(server, name):
    """Outside of it an image stays; its next ISO comes already, if it has a name of its own."""
    server.more = {"window": closed_window(), "prune": True}
    server.name()
    server.applied()  # the first installation does not wait
    server.revise(name)
    server.web.requests.clear()
    first, said = server.apply(), server.apply(test=True)
    good(first)
    assert "Another revision waits for the window (" in said[FETCHED]["comment"]
    assert "Another revision waits for the window (" in said[READY]["comment"]
    assert (said[FETCHED]["result"], said[READY]["result"]) == (True, True)
    assert server.revision() == "a.iso"
    fetched = [one for one in server.web.requests if one.startswith("GET")]
    assert fetched == ([f"GET /{name}"] if name == "c.iso" else [])
    assert good(server.apply()) == {}
    done = good(server.given(**closed_window(), open=True))
    assert READY in done
    assert server.revision() == "b.iso"
    assert len([one for one in server.web.requests if one.startswith("GET")]) == 1
    assert not (server.root / ".previous").exists()
    assert good(server.apply()) == {}
    listed = os.listdir(server.root / "dist")
    assert listed == [name]


@LONG
def test_a_wave_waits_for_the_window_and_going_back_does_not(server):
    server.more["window"] = closed_window()
    server.name()
    server.applied()
    server.revise("c.iso")
    assert "waits for the window (" in server.given("go")[READY]["comment"]
    assert server.revision() == "a.iso"
    server.more.pop("window")
    good(server.given("go"))
    server.more["window"] = closed_window()
    good(server.given("back"))
    assert server.revision() == "a.iso"


@LONG
@pytest.mark.parametrize("do", ["go", "back"])
@pytest.mark.parametrize("name", ["a.iso", "c.iso"])
def test_killed_at_each_call(server, do, name, tmp_path, loaders):
    """A wave, or going back, killed: the next ordinary apply, and the same again, are right."""
    server.name()
    server.applied()
    server.revise(name)
    if do == "back":
        good(server.given("go"))
    left = {"go": {"a.iso", "b.iso"}, "back": {"a.iso", "b.iso"}}[do]
    number, seen = 0, set()
    while number < 400 and killed(lambda: server.given(do), number):
        number += 1
        loaders.reset_state()
        server.web.requests.clear()
        done = server.apply()
        good(done)
        seen.add(server.revision())
        assert server.revision() in left
        assert good(server.apply()) == {}
        good(server.given(do))
        assert server.revision() == {"go": "b.iso", "back": "a.iso"}[do]
        # and where it was
        good(server.given({"go": "back", "back": "go"}[do]))
        assert server.revision() == {"go": "a.iso", "back": "b.iso"}[do]
    assert number > 10
    print(do, name, number, seen)
