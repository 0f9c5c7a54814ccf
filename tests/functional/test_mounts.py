"""
Loop mounts instead of unpacked trees: what goes wrong with them, and the ways in and out.

tests/boot/test_mounts.py has the kernel's iso9660. Here, where the kernel may lack it, squashfs is
mounted: the test's ISO has one in its first 32 KiB, which ISO 9660 leaves to others (ECMA-119
6.2.1). mount(8), the loop device and fstab are the real ones.
"""

import functools
import os
import shutil
import subprocess
from types import SimpleNamespace

import pytest
import salt.loader

import iso_hashes
import iso_tree
import netboot_images
from _states import alt_image
from tests.isos import FILES, STAGES, content, make_iso

LABEL = "alt_p11"
NAME = "ALT p11"


def with_squashfs(iso):
    squashfs = iso.with_suffix(".squashfs")
    command = ["mksquashfs", iso.with_suffix(".tree"), squashfs, "-quiet", "-no-progress", "-comp"]
    subprocess.run([*command, "xz"], check=True, capture_output=True)
    assert squashfs.stat().st_size <= 32768
    with open(iso, "r+b") as file:
        file.write(squashfs.read_bytes())


@pytest.fixture
def server(loaders, minion_opts, tmp_path, monkeypatch, records, configured):
    """The state functions with a fstab of their own; `mounted` and `unpacked` apply the image."""
    root = tmp_path / "export"
    for folder in ("dist", "tftp/netboot"):
        (root / folder).mkdir(parents=True)
    (root / ".staging").mkdir(mode=0o700)
    iso = root / "dist/a.iso"
    make_iso(iso)
    with_squashfs(iso)
    modules = loaders.modules
    record = iso_hashes.digests(str(iso), ["sha256"])
    records.write_iso("a.iso", record)

    fstab = tmp_path / "fstab"
    fstab.write_text("# of the admin\n")

    def testing(test):
        opts = {**minion_opts, "grains": loaders.grains, "test": test}
        raw = salt.loader.states(opts, modules, loaders.utils, loaders.serializers)
        names = ("mount.mounted", "mount.unmounted")
        mounts = {name: functools.partial(raw[name], config=str(fstab)) for name in names}
        monkeypatch.setattr(alt_image, "__opts__", opts, raising=False)
        monkeypatch.setattr(alt_image, "__states__", mounts, raising=False)
        monkeypatch.setattr(alt_image, "__context__", {}, raising=False)

    testing(False)

    def apply(function, file="a.iso", mount=True):
        digests = records.iso(file)["digests"]
        image = {"url": f"http://192.0.2.1/{file}", "checksum": digests, "mount": mount}
        configured({"images": {NAME: image}})
        return function(LABEL)

    tree = root / "tftp/netboot/x86_64" / LABEL
    yield SimpleNamespace(
        mounted=functools.partial(apply, alt_image.mounted),
        unpacked=functools.partial(apply, alt_image.unpacked, mount=False),
        testing=testing,
        modules=modules,
        records=records,
        root=root,
        tree=tree,
        iso=iso,
        fstab=fstab,
    )
    if os.path.ismount(tree):
        subprocess.run(["umount", tree], check=True)


@pytest.fixture
def squashfs(monkeypatch):
    monkeypatch.setattr(alt_image, "MOUNT_TYPE", "squashfs")
    monkeypatch.setattr(alt_image, "MOUNT_HIDDEN", ["loop", "nofail"])


def options_of(tree):
    with open("/proc/self/mountinfo") as mounts:
        (line,) = [line.split() for line in mounts if line.split()[4] == str(tree)]
    return set(line[5].split(","))


def test_mounted(server, squashfs):
    done = server.mounted()
    assert done["result"] is True, done
    assert done["changes"] == {"mount": True, "persist": "new"}
    assert {"ro", "nodev", "nosuid"} <= options_of(server.tree)
    assert content(server.tree) == FILES
    line = server.fstab.read_text().splitlines()[1].split()
    assert line[:3] == [str(server.iso), str(server.tree), "squashfs"]
    assert set(line[3].split(",")) == {"loop", "nofail", "ro", "nodev", "nosuid"}
    facts = server.modules.netboot.images()[0]["facts"]
    assert set(facts["sha256"]) == set(STAGES)
    for test in (False, True):
        server.testing(test)
        again = server.mounted()
        assert (again["result"], again["changes"]) == (True, {}), again


def test_after_a_reboot_or_an_edit_of_fstab_it_is_mounted_again(server, squashfs):
    server.mounted()
    subprocess.run(["umount", server.tree], check=True)
    server.fstab.write_text("# of the admin\n")
    assert server.mounted()["changes"] == {"mount": True, "persist": "new"}
    assert content(server.tree) == FILES


def test_from_a_tree_to_a_mount_and_back(server, squashfs):
    server.unpacked()
    assert set(content(server.tree)) == set(STAGES)
    assert server.mounted()["result"] is True
    assert content(server.tree) == FILES
    iso_tree.sweep(str(server.root / ".staging"))
    assert os.listdir(server.root / ".staging") == []

    done = server.unpacked()
    assert done["result"] is True, done
    assert not os.path.ismount(server.tree)
    assert set(content(server.tree)) == set(STAGES)
    assert server.fstab.read_text() == "# of the admin\n"


def test_iso_that_was_renamed_under_its_mount(server, squashfs):
    server.mounted()
    new = server.iso.with_name("b.iso")
    netboot_images.rename_iso(server.records, str(server.iso), str(new))
    for _ in range(2):
        done = server.mounted(file="b.iso")
        assert done["result"] is True, done
        assert content(server.tree) == FILES
        (_, line) = server.fstab.read_text().splitlines()
        assert line.split()[:2] == [str(new), str(server.tree)]
    with open("/proc/self/mounts") as mounts:
        assert sum(line.split()[1] == str(server.tree) for line in mounts) == 1
    assert done["changes"] == {}


def test_a_mount_that_is_read_is_not_taken_back(server, squashfs):
    server.mounted()
    with open(server.tree / "live"):
        failed = server.unpacked()
        assert failed["result"] is False
        assert failed["comment"].startswith(f"{server.tree} cannot be unmounted: ")
    assert content(server.tree) == FILES
    assert server.unpacked()["result"] is True


def test_pruned(server, squashfs):
    server.mounted()
    server.testing(True)
    foretold = alt_image.pruned("images", keep=False)
    assert foretold["changes"] == {str(server.tree): "would be removed"}
    assert os.path.ismount(server.tree)
    server.testing(False)
    assert alt_image.pruned("images", keep=False)["changes"] == {str(server.tree): "removed"}
    assert not server.tree.exists()
    assert server.fstab.read_text() == "# of the admin\n"
    assert server.iso.exists()  # which these states did not fetch


def test_where_it_cannot_be_mounted_the_old_tree_stays(server, monkeypatch):
    monkeypatch.setattr(alt_image, "MOUNT_TYPE", "no-file-system")
    server.unpacked()
    server.testing(True)
    foretold = server.mounted()
    assert foretold["result"] is None
    assert foretold["changes"] == {LABEL: f"{server.iso} would be mounted"}
    server.testing(False)
    done = server.mounted()
    assert done["result"] is False
    assert done["comment"].startswith("mount: ")
    assert set(content(server.tree)) == set(STAGES)
    assert server.fstab.read_text() == "# of the admin\n"


def test_iso_with_entries_that_clients_must_not_see_is_not_mounted(server, squashfs, tmp_path):
    shutil.copy(make_iso(tmp_path / "hostile.iso", hostile=True), server.iso)
    server.records.write_iso("a.iso", iso_hashes.digests(str(server.iso), ["sha256"]))
    failed = server.mounted()
    assert failed["result"] is False
    assert "clients must not see all of it" in failed["comment"]
    assert "'out' is not unpacked: the link points out of the tree" in failed["comment"]
    assert "Remove netboot:images:ALT p11:mount." in failed["comment"]
    assert not server.tree.exists()
