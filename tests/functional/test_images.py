"""The life of images: fetched, unpacked as their boot entries need, renamed, dropped, pruned."""

import contextlib
import hashlib
import os
import subprocess
import sys

import pytest

import netboot_files
import netboot_images
import netboot_in_use
import netboot_left_over
from lab.secure_boot import debian
from tests.isos import BOOT, FILES, GRUB_CFG, STAGES, content, make_iso

NAME = "ALT p11"
LABEL = "alt_p11"
HOSTILE = {"boot/grub/grub.cfg": GRUB_CFG.encode(), "live": b"x" * 5000}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("isos")
    return {
        "a.iso": make_iso(folder / "a.iso"),
        "b.iso": make_iso(folder / "b.iso", more={"index.html": b"b"}),
    }


@pytest.fixture
def root(tmp_path):
    return tmp_path / "export"


class Server:
    """A netboot server in a folder: `images` is its pillar, apply() all of netboot.images."""

    def __init__(self, modules, records, root, web, made):
        self.modules, self.records = modules, records
        self.root, self.web, self.made = root, web, made
        self.images, self.more = {}, {}

    def name(self, name=NAME, file="a.iso", **keys):
        """Put an image into the pillar, and its ISO on the web server."""
        if not (self.web.folder / file).exists():
            os.link(self.made[file], self.web.folder / file)
        self.images[name] = {
            "url": f"{self.web.url}/{file}",
            "checksum": {"sha256": sha256(self.web.folder / file)},
            **keys,
        }

    def apply(self, test=False):
        """Apply; returns {state id without netboot-: its return}."""
        pillar = {"interface": "lo", "root": str(self.root), "images": self.images, **self.more}
        done = self.modules.state.apply("netboot.images", pillar={"netboot": pillar}, test=test)
        return {one["__id__"].removeprefix("netboot-"): one for one in done.raw.values()}

    def applied(self):
        """Apply what must succeed, as foretold; returns the changes of the images' states."""
        foretold = self.apply(test=True)
        done = self.apply()
        assert all(one["result"] for one in done.values()), done
        changes = {key: one["changes"] for key, one in done.items() if one["changes"]}
        for key, one in foretold.items():
            if key.endswith("-offered"):
                continue  # what an image changes in the menus shows when it is there
            assert (one["result"] is None) == (key in changes), f"{key}: {one}"
        for again in (self.apply(), self.apply(test=True)):
            assert all(one["result"] and not one["changes"] for one in again.values()), again
        return {
            key: one
            for key, one in changes.items()
            if key.startswith("image") and not key.endswith("-offered")
        }

    def tree(self, label=LABEL):
        return self.root / "tftp/netboot/x86_64" / label

    def record(self, label=LABEL):
        return self.records.image(label)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def server(modules, records, root, web, made):
    return Server(modules, records, root, web, made)


@contextlib.contextmanager
def reader(path):
    """Another process that has a file open."""
    code = "import sys; file = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    run = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert run.stdout.readline() == b"open\n"
    yield
    run.communicate()


# How much is unpacked


@pytest.mark.parametrize(
    ("keys", "form", "files"),
    [
        ({}, "stages", STAGES),
        ({"variants": ["livecd"]}, "stages", STAGES),
        ({"variants": ["install"]}, "boot", BOOT),
        ({"variants": ["install"], "unpack": "stages"}, "stages", STAGES),
        ({"unpack": "tree"}, "tree", FILES),
    ],
)
def test_what_the_entries_need_is_unpacked_and_no_more(server, keys, form, files):
    server.name(**keys)
    assert list(server.applied()) == [f"image-{LABEL}-fetched", f"image-{LABEL}-ready"]
    assert content(server.tree()) == {name: FILES[name] for name in files}
    assert server.record()["form"] == form
    digests = {name: hashlib.sha256(FILES[name]).hexdigest() for name in STAGES}
    assert server.record()["facts"]["sha256"] == digests
    assert server.modules.alt_iso.inspect(str(server.root / "dist/a.iso"))["sha256"] == digests


def test_installation_from_the_tree_needs_all_of_it(server, made, tmp_path):
    # a first stage that cannot load a whole ISO
    menu = GRUB_CFG.replace("root=bootchain bootchain=fg,altboot", "changedisk")
    older = {
        "boot/grub/grub.cfg": menu.encode(),
        ".disk/info": b"ALT p9 test/x86_64 build 2020-06-02\n",
    }
    server.made = {**made, "p9.iso": make_iso(tmp_path / "p9.iso", more=older)}
    server.name(file="p9.iso")
    server.applied()
    assert content(server.tree()) == {**FILES, **older}
    assert server.record()["form"] == "tree"
    server.name(file="p9.iso", keep_iso=False)
    server.applied()
    assert not (server.root / "dist/p9.iso").exists()


def test_more_is_unpacked_when_an_entry_needs_more(server):
    server.name(variants=["install"])
    server.applied()
    server.name()
    assert list(server.applied()) == [f"image-{LABEL}-ready"]
    assert set(content(server.tree())) == set(STAGES)


def test_damaged_tree_is_unpacked_again(server):
    server.name()
    server.applied()
    (server.tree() / "live").write_bytes(b"short")
    assert list(server.applied()) == [f"image-{LABEL}-ready"]
    assert content(server.tree())["live"] == FILES["live"]


def test_rot_of_the_same_size_is_unpacked_again(server):
    server.name()
    server.applied()
    live = server.tree() / "live"
    live.write_bytes(b"x" * live.stat().st_size)
    assert list(server.applied()) == [f"image-{LABEL}-ready"]
    assert content(server.tree())["live"] == FILES["live"]


def rot_unseen(server, name):
    """Change a file of the tree and put the record right, as nothing tells when a disk rots."""
    path = server.tree() / name
    path.write_bytes(b"x" * path.stat().st_size)
    record = server.record()
    record["identities"][name] = netboot_files.identity(str(path))
    server.records.write("images", LABEL, record)


@pytest.mark.parametrize("name", STAGES)
def test_rot_that_no_time_tells_is_found_when_the_pillar_says_always(server, name):
    server.name(verify="always")
    server.applied()
    rot_unseen(server, name)
    done = server.apply()[f"image-{LABEL}-ready"]
    assert (done["result"], list(done["changes"])) == (True, [str(server.tree())])
    assert content(server.tree())[name] == FILES[name]
    assert server.applied() == {}


def test_rot_without_the_iso_is_told_and_mended_by_the_next_apply(server):
    server.name(variants=["livecd"], keep_iso=False, verify="always")
    server.applied()
    rot_unseen(server, "live")
    failed = server.apply()[f"image-{LABEL}-ready"]
    assert failed["result"] is False
    assert f"{server.tree()} is corrupted (live); apply again" in failed["comment"]
    server.applied()
    assert content(server.tree())["live"] == FILES["live"]


def test_another_arch_in_the_pillar_leaves_no_tree_behind(server):
    server.name()
    server.applied()
    server.name(alt_arch="aarch64")
    server.applied()
    assert not server.tree().exists()
    assert (server.tree().parents[1] / "aarch64" / LABEL).exists()


def test_image_that_an_earlier_version_inspected(server):
    """It is read again once Secure Boot is in the pillar, and not before."""
    server.name()
    server.applied()
    record = server.record()
    assert record["facts"].pop("secure_boot")["lacks"] == "no-shim"
    server.records.write("images", LABEL, record)
    assert server.applied() == {}
    loader = {"url": f"{server.web.url}/x.efi", "checksum": {"sha256": "0" * 64}}
    server.more = {"secure_boot": {"efi-x86_64": {"shim": loader, "ipxe": loader}}}
    assert list(server.applied()) == [f"image-{LABEL}-ready"]
    assert server.record()["facts"]["secure_boot"]["lacks"] == "no-shim"


def test_what_starts_with_secure_boot_belongs_to_the_boot_files(server, made, tmp_path):
    shim, grub = "EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi"
    files = {shim: debian("shim").read_bytes(), grub: debian("grub").read_bytes()}
    server.made = {**made, "signed.iso": make_iso(tmp_path / "signed.iso", {**FILES, **files})}
    server.name(file="signed.iso", variants=["install"])
    server.applied()
    assert set(content(server.tree())) == {*BOOT, shim, grub}
    assert set(server.record()["boot_files"]) == {*BOOT, shim, grub}
    (server.tree() / shim).unlink()
    assert list(server.applied()) == [f"image-{LABEL}-ready"]
    assert content(server.tree())[shim] == files[shim]


# The pillar against the ISO


def test_iso_that_contradicts_the_pillar_is_told_at_each_apply(server):
    kernel = "EFI/BOOT/BOOTX64.EFI"
    server.name(dialect="altboot", alt_arch="aarch64", kernel=kernel)
    for _ in range(2):
        told = server.apply()[f"image-{LABEL}-ready"]
        iso = server.root / "dist/a.iso"
        assert told["result"] is True
        assert told["warnings"] == [
            f"netboot:images:{NAME}:alt_arch is aarch64, but in {iso} it is x86_64.",
            f"netboot:images:{NAME}:kernel is {kernel}, but in {iso} it is boot/vmlinuz.",
        ]
    facts = server.record()["facts"]
    assert facts["sha256"][kernel] == hashlib.sha256(FILES[kernel]).hexdigest()
    assert (server.root / "tftp/netboot/aarch64" / LABEL / kernel).is_file()


@pytest.mark.parametrize(
    ("path", "said"), [("boot/vmlinux", "has no file boot/vmlinux"), ("boot", "boot is a dir")]
)
def test_kernel_in_the_pillar_that_the_iso_lacks(server, path, said):
    server.name(kernel=path)
    failed = server.apply()[f"image-{LABEL}-ready"]
    assert failed["result"] is False
    assert failed["changes"] == {}
    assert failed["comment"].startswith(f"netboot:images:{NAME}:kernel cannot be used: ")
    assert said in failed["comment"]
    assert not server.tree().exists()


def test_image_is_refused_when_an_entry_needs_what_must_not_be_unpacked(server, made, tmp_path):
    # its kernel is a link out of the tree
    folder = tmp_path / "hostile.tree/boot"
    folder.mkdir(parents=True)
    (folder / "vmlinuz").symlink_to("/boot/vmlinuz")
    hostile = make_iso(tmp_path / "hostile.iso", {**HOSTILE, "boot/initrd.img": b"x"})
    server.made = {**made, "hostile.iso": hostile}
    server.name(file="hostile.iso")
    failed = server.apply()[f"image-{LABEL}-ready"]
    assert failed["result"] is False
    assert f"set netboot:images:{NAME}:initrd, netboot:images:{NAME}:kernel" in failed["comment"]
    assert "'boot/vmlinuz': the link points out of the tree" in failed["comment"]
    assert not server.tree().exists()


def test_what_is_not_unpacked_is_told(server, made, tmp_path):
    server.made = {**made, "odd.iso": make_iso(tmp_path / "odd.iso", hostile=True)}
    server.name(file="odd.iso")
    told = server.apply()[f"image-{LABEL}-ready"]
    assert told["result"] is True
    assert [warning.rpartition(": ")[2] for warning in told["warnings"]] == [
        "the link points out of the tree",
        "it is a device, a pipe or a socket",
    ]


# Without the ISO


def test_iso_is_dropped_and_not_fetched_again(server):
    server.name(variants=["livecd"], keep_iso=False)
    server.applied()
    assert list((server.root / "dist").iterdir()) == []
    server.web.requests.clear()
    server.applied()
    assert server.web.requests == []
    listed = server.modules.netboot.list()[NAME]
    assert listed["iso"]["state"] == "dropped"
    assert listed["iso"]["ours"] is False

    (server.tree() / "live").unlink()  # now it is needed again
    server.applied()
    assert any("GET" in request for request in server.web.requests)
    assert list((server.root / "dist").iterdir()) == []

    server.name("Other name", variants=["livecd"], keep_iso=False)
    del server.images[NAME]
    server.web.requests.clear()
    assert list(server.applied()) == ["image-other_name-ready"]
    assert server.web.requests == []


def test_another_checksum_in_the_pillar_brings_a_dropped_iso_again(server, made):
    server.name(variants=["livecd"], keep_iso=False)
    server.applied()
    (server.web.folder / "a.iso").unlink()
    os.link(made["b.iso"], server.web.folder / "a.iso")
    server.name(variants=["livecd"], keep_iso=False)
    server.applied()
    assert server.record()["iso_sha256"] == sha256(server.web.folder / "a.iso")


def test_an_image_is_offered_while_others_are_still_to_come(server):
    server.name()
    server.name("ALT b", file="b.iso", checksum={"sha256": "0" * 64})
    done = server.apply()
    assert done["image-alt_b-fetched"]["result"] is False
    assert "config-x86_64.ipxe" in done[f"image-{LABEL}-offered"]["changes"]
    order = [done[f"image-{one}"]["__run_num__"] for one in (f"{LABEL}-offered", "alt_b-fetched")]
    assert order == sorted(order)
    assert f":{LABEL}-livecd\n" in (server.root / "tftp/config-x86_64.ipxe").read_text()


def test_preview_foresees_the_iso_that_a_restored_record_names(server, states):
    """It is offered, as the apply brings it; without one to come it is a problem."""
    server.name()
    server.apply()
    (server.root / "dist/a.iso").unlink()
    menus = {"name": "menus", "template": "salt://netboot/files/menu.ipxe.jinja"}
    foretold = states.netboot_tftp.menus_written(**menus, test=True)
    assert foretold.result is not False, foretold.comment
    done = states.netboot_tftp.menus_written(**menus)
    assert done.result is False
    assert done.comment.endswith(
        f"Not in the menu: alt_p11-install: {server.root}/dist/a.iso does not exist"
    )


def test_iso_that_an_entry_boots_is_not_dropped(server):
    server.name(keep_iso=False)
    failed = server.apply()[f"image-{LABEL}-ready"]
    assert failed["result"] is False
    assert failed["changes"] == {}
    assert failed["comment"].startswith(f"netboot:images:{NAME}:keep_iso is false, but ")
    assert f"{LABEL}-install boots the whole ISO" in failed["comment"]
    assert (server.root / "dist/a.iso").exists()
    assert not server.tree().exists()

    # The same when it was unpacked before
    server.name()
    server.applied()
    server.name(keep_iso=False)
    for test in (True, False):
        failed = server.apply(test)[f"image-{LABEL}-ready"]
        assert failed["result"] is False
        assert failed["comment"].startswith(f"netboot:images:{NAME}:keep_iso is false, but ")
    assert (server.root / "dist/a.iso").exists()


@pytest.mark.parametrize("dropped", [True, False])
def test_iso_that_an_entry_boots_is_not_fetched_to_find_that_out(server, dropped):
    """What its image needs is on record from the last time it was here."""
    server.name(variants=["livecd"], keep_iso=not dropped)
    server.applied()
    if not dropped:
        (server.root / "dist/a.iso").unlink()
    server.web.requests.clear()
    server.name(unpack="tree", keep_iso=False)
    for test in (True, False):
        failed = server.apply(test)[f"image-{LABEL}-fetched"]
        assert failed["result"] is False
        assert f"netboot:images:{NAME}:keep_iso is false, but {LABEL}-install" in failed["comment"]
    assert server.web.requests == []


def test_iso_of_the_admin_is_not_dropped(server, made):
    (server.root / "dist").mkdir(parents=True)
    os.link(made["a.iso"], server.root / "dist/a.iso")
    server.name(variants=["livecd"], keep_iso=False)
    done = server.apply()[f"image-{LABEL}-ready"]
    assert done["result"] is True
    assert "stays: these states did not fetch it" in done["comment"]
    assert (server.root / "dist/a.iso").exists()
    assert server.apply(test=True)[f"image-{LABEL}-ready"]["result"] is True


def test_iso_that_is_read_is_dropped_later(server):
    server.name(variants=["livecd"])
    server.applied()
    server.name(variants=["livecd"], keep_iso=False)
    with reader(server.root / "dist/a.iso"):
        done = server.apply()[f"image-{LABEL}-ready"]
        assert "is in use; a later apply will remove it" in done["comment"]
        assert (server.root / "dist/a.iso").exists()
    server.applied()
    assert not (server.root / "dist/a.iso").exists()


# Renamed


def test_renamed_image_is_neither_fetched_nor_unpacked_again(server):
    server.name()
    server.applied()
    before = (server.tree() / "live").stat().st_ino
    server.web.requests.clear()
    server.images = {"Room 12": server.images[NAME]}
    assert list(server.applied()) == ["image-room_12-ready"]
    assert server.web.requests == []
    assert (server.tree("room_12") / "live").stat().st_ino == before
    assert not server.tree().exists()
    assert [image["name"] for image in server.modules.netboot.images()] == ["Room 12"]

    server.images = {"ROOM 12": server.images["Room 12"]}
    assert server.applied() == {}
    assert [image["name"] for image in server.modules.netboot.images()] == ["ROOM 12"]


def test_tree_that_is_read_or_still_named_is_not_renamed(server):
    server.name()
    server.applied()
    server.images = {"Room 12": server.images[NAME]}
    with reader(server.tree() / "live"):
        server.applied()
    assert content(server.tree()) == content(server.tree("room_12"))


def test_iso_of_another_file_name_and_the_same_digest_is_not_fetched_again(server, made):
    server.name()
    server.applied()
    server.web.requests.clear()
    server.made = {**made, "a-1.iso": made["a.iso"]}
    server.name(file="a-1.iso")
    foretold = server.apply(test=True)["images-renamed"]
    new, old = (str(server.root / "dist" / file) for file in ("a-1.iso", "a.iso"))
    assert foretold["result"] is None
    assert os.listdir(server.root / "dist") == ["a.iso"]
    done = server.apply()
    assert (
        foretold["changes"] == done["images-renamed"]["changes"] == {new: {"old": old, "new": new}}
    )
    assert not done[f"image-{LABEL}-ready"]["changes"]
    assert server.applied() == {}
    assert server.web.requests == []
    assert os.listdir(server.root / "dist") == ["a-1.iso"]
    (install,) = [entry for entry in server.modules.netboot.entries() if entry["needs_iso"]]
    assert "/dist/a-1.iso" in install["cmdline"]
    assert netboot_images.is_owned_iso(server.records, new)
    assert set(server.modules.alt_iso.inspect(new)["sha256"]) == set(STAGES)


def test_image_and_iso_are_renamed_at_once(server, made):
    server.more = {"prune": True}
    server.name()
    server.applied()
    server.web.requests.clear()
    server.images = {}
    server.made = {**made, "a-1.iso": made["a.iso"]}
    server.name("Room 12", "a-1.iso")
    foretold = server.apply(test=True)["image-room_12-ready"]["changes"]
    assert foretold == {"room_12": f"would be renamed from {server.tree()}"}
    assert list(server.applied()) == ["images-renamed", "image-room_12-ready"]
    assert server.web.requests == []
    assert os.listdir(server.root / "dist") == ["a-1.iso"]
    assert os.listdir(server.tree().parent) == ["room_12"]


# Pruned


@pytest.fixture
def left_over(server):
    """A server with two images, of which the pillar names one; returns what the other one has."""
    server.name()
    server.name("other", "b.iso")
    server.applied()
    del server.images["other"]
    return [server.tree("other"), server.root / "dist/b.iso"]


def test_without_prune_what_is_left_over_is_told(server, left_over):
    server.applied()
    told = server.apply()["images-pruned"]["comment"]
    assert "set netboot:prune: true to remove them" in told
    for path in left_over:
        assert path.exists()
        assert str(path) in told
    assert server.modules.netboot.list()["other"]["in_pillar"] is False


def test_pruned(server, left_over):
    server.more = {"prune": True}
    foretold = server.apply(test=True)["images-pruned"]
    assert foretold["result"] is None
    assert foretold["changes"] == {str(path): "would be removed" for path in left_over}
    assert all(path.exists() for path in left_over)
    assert server.applied()["images-pruned"] == {str(path): "removed" for path in left_over}
    assert not any(path.exists() for path in left_over)
    assert list(server.modules.netboot.list()) == [NAME]
    assert (server.root / "dist/a.iso").exists()
    assert set(content(server.tree())) == set(STAGES)
    assert list((server.root / ".staging").iterdir()) == []


def test_what_is_read_is_pruned_later(server, left_over):
    server.more = {"prune": True}
    tree, iso = left_over
    with reader(tree / "boot/vmlinuz"), reader(iso):
        for test in (False, True):
            told = server.apply(test)["images-pruned"]
            assert told["changes"] == {}
            for path in left_over:
                assert f"A later apply will remove {path}: it is in use" in told["comment"]
    assert set(server.applied()["images-pruned"]) == {str(path) for path in left_over}


def test_what_nfs_clients_may_want_is_pruned_later(server, left_over, tmp_path, monkeypatch):
    """This machine's kernel may serve no NFS: only the place where it says so is replaced."""
    (tmp_path / "threads").write_text("8\n")
    monkeypatch.setattr(netboot_in_use, "NFSD_THREADS", str(tmp_path / "threads"))

    def why_not():
        keep = [{"label": LABEL, "file": "a.iso"}]
        found = netboot_left_over.removable(server.records, keep)
        assert [item["path"] for item in found] == [str(path) for path in left_over]
        return {item["why_not"] for item in found}

    assert why_not() == {"NFS clients may need it for 24 more hours"}
    netboot_left_over.remember_out_of_service(server.records, [str(path) for path in left_over])
    since = server.records.owned("out-of-service", {})
    assert set(since) == {str(path) for path in left_over}
    before = {path: then - 20 * 3600 for path, then in since.items()}
    server.records.write("owned", "out-of-service", before)
    assert why_not() == {"NFS clients may need it for 4 more hours"}
    before = {path: then - 24 * 3600 for path, then in since.items()}
    server.records.write("owned", "out-of-service", before)
    assert why_not() == {""}


def test_files_that_these_states_did_not_write_stay(server, made):
    server.more = {"prune": True}
    (server.root / "dist").mkdir(parents=True)
    os.link(made["a.iso"], server.root / "dist/a.iso")
    (server.root / "dist/of-the-admin.iso").write_bytes(b"x")
    server.tree("of-the-admin").mkdir(parents=True)
    server.name()
    server.name("other", "b.iso")
    server.applied()
    (server.root / "dist/b.iso").write_bytes(b"the admin put another one in its place")
    server.images = {}
    assert set(server.apply()["images-pruned"]["changes"]) == {
        str(server.tree()),
        str(server.tree("other")),
    }
    assert {path.name for path in (server.root / "dist").iterdir()} == {
        "a.iso",
        "b.iso",
        "of-the-admin.iso",
    }
    assert server.tree("of-the-admin").exists()


def test_old_iso_stays_while_the_new_one_has_not_come(server):
    server.more = {"prune": True}
    server.name()
    server.applied()
    newer = {"url": f"{server.web.url}/not-yet.iso", "checksum": {"sha256": "0" * 64}}
    server.images[NAME] = newer
    server.apply()
    assert (server.root / "dist/a.iso").exists()
    assert server.tree().exists()
    server.name(file="b.iso")
    server.apply()  # test=True could not tell that this frees the old one
    assert not (server.root / "dist/a.iso").exists()


def test_absent(server, states):
    server.name()
    server.name("other", "b.iso")
    server.applied()
    assert states.alt_image.absent(NAME, test=True).result is None
    assert server.tree().exists()
    done = states.alt_image.absent(NAME)
    assert set(done.changes) == {str(server.tree()), str(server.root / "dist/a.iso")}
    assert not server.tree().exists()
    assert states.alt_image.absent(NAME).changes == {}
    assert server.tree("other").exists()


def test_tree_below_another_root_is_not_ready(server, tmp_path):
    """What is below the root that the pillar had before is not served."""
    server.name()
    server.applied()
    assert server.modules.netboot.entries() != []
    server.root = tmp_path / "other"
    iso = server.web.folder / "a.iso"
    iso.rename(f"{iso}.away")
    assert server.apply()[f"image-{LABEL}-fetched"]["result"] is False
    assert server.modules.netboot.entries() == []
    assert server.modules.netboot.list()[NAME]["tree"] is None
    iso.with_name("a.iso.away").rename(iso)
    server.applied()
    assert server.modules.netboot.entries() != []


def test_list(server):
    server.name()
    server.apply(test=False)
    assert server.modules.netboot.list() == {
        NAME: {
            "in_pillar": True,
            "entries": [f"{LABEL}-livecd", f"{LABEL}-install"],
            "iso": {
                "path": str(server.root / "dist/a.iso"),
                "bytes": os.path.getsize(server.made["a.iso"]),
                "state": "kept",
                "ours": True,
                "verified": server.modules.netboot.list()[NAME]["iso"]["verified"],
                "source": f"{server.web.url}/a.iso",
                "progress": None,
            },
            "tree": {
                "path": str(server.tree()),
                "bytes": sum(len(FILES[name]) for name in STAGES),
                "form": "stages",
            },
        }
    }
