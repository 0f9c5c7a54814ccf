"""netboot_clean.served: mounts, foreign files and boots stay; test=True foretells the same."""

import shutil
import subprocess

import pytest

import netboot_files

IMAGE = {"name": "a", "label": "kept", "file": "a.iso", "tree": "/kept", "facts": {}}


@pytest.fixture
def mounted():
    folders = []

    def mount(folder):
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
        folders.append(folder)

    yield mount
    for folder in reversed(folders):
        subprocess.run(["umount", folder], check=True)


def test_what_is_mounted_stays(states, mounted, tmp_path, records, configured):
    root = tmp_path / "export"
    mounted(root)
    mounted(root / "tftp/netboot/x86_64/mounted")
    (root / "tftp/netboot/x86_64/mounted/empty").mkdir()
    (root / "dist").mkdir()
    configured()
    records.write("images", "kept", {"label": "kept", "tree": "/kept"})
    done = states.netboot_clean.served("served files")
    assert done.result is True, done.comment
    assert done.changes == {str(root / "dist"): "removed"}
    assert (root / "tftp/netboot/x86_64/mounted/empty").is_dir()


def test_folder_that_is_gone(states, records, configured):
    configured()
    records.write("images", "kept", {"label": "kept", "tree": "/kept"})
    done = states.netboot_clean.served("served files")
    assert (done.result, done.changes) == (True, {})


def test_server_is_out_of_service_until_it_is_applied(states, modules, records, configured):
    configured()
    records.write("images", "kept", IMAGE)
    assert modules.netboot.status()["out_of_service"] is None
    assert states.netboot_clean.served("served files", test=True).result is True
    assert modules.netboot.status()["out_of_service"] is None
    states.netboot_clean.served("served files")
    since = modules.netboot.status()["out_of_service"]
    assert since == modules.netboot.status()["applied"]["at"]
    assert modules.netboot.check() == [
        {
            "key": "service.out",
            "severity": "error",
            "text": f"Out of service since {since[:10]} {since[11:16]} UTC: netboot.clean was "
            "applied; state.apply netboot puts it back.",
        }
    ]
    before = records.read("applied", "run")
    states.netboot_clean.served("served files")
    assert records.read("applied", "run") == before
    records.write("applied", "run", {"at": 1, "failed": {"x": "y"}})
    states.netboot.applied("summary")
    assert modules.netboot.status()["out_of_service"] is None


@pytest.fixture
def removed(states, tmp_path, state_dir, records, configured):
    """What netboot_clean.served removes from a server with menus, once it has foretold that."""
    root = tmp_path / "export"
    for directory in ("dist", "tftp/netboot/x86_64", "tftp/once", ".staging"):
        (root / directory).mkdir(parents=True)
    menu = root / "tftp/config-x86_64.ipxe"
    menu.write_text("#!ipxe\n")

    def files():
        return {path for top in (root, state_dir) for path in top.rglob("*")}

    def clean(**arguments):
        config = configured()
        # Not what is on the machine that runs the tests.
        config["paths"]["etc"] = str(tmp_path / "etc")
        records.write("applied", "config", config)
        records.write("owned", "menus", [menu.name])
        before = files()
        foretold = states.netboot_clean.served("x", test=True, **arguments)
        assert foretold.result is None, foretold.comment
        assert files() == before
        done = states.netboot_clean.served("x", **arguments)
        assert done.result is True, done.comment
        assert set(done.changes) == set(foretold.changes)
        assert states.netboot_clean.served("x", **arguments).changes == {}
        return done.changes

    shutil.rmtree(state_dir)
    yield clean
    state_dir.mkdir(exist_ok=True)


def test_records_go_with_all_else(removed, tmp_path, state_dir, records):
    records.write("services", "netboot-once", {"files": {}})
    (state_dir / "once").mkdir()
    for left in ("once/lock", "once/new", "owned/.netboot.once.json.new"):
        (state_dir / left).parent.mkdir(exist_ok=True)
        (state_dir / left).touch()
    changes = removed()
    assert changes[str(state_dir)] == "removed"
    assert str(tmp_path / "export") in changes
    assert not state_dir.exists()
    assert not (tmp_path / "export").exists()


def test_foreign_files_among_the_records_stay(removed, state_dir):
    foreign = [state_dir / name for name in ("notes.txt", "mine/a.json", "owned/a.txt")]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert removed(images=True)[str(state_dir)] == "emptied, foreign files stay"
    assert sorted(path for path in state_dir.rglob("*") if path.is_file()) == sorted(foreign)


@pytest.mark.parametrize("images", [False, True])
def test_only_with_the_images_hosts_are_armed_again(removed, state_dir, records, images):
    boot = {"arming": "1a2b", "entry": "p11-install", "booted_at": 1}
    records.write("once", "pc1", boot)
    assert (str(state_dir) in removed(images=images)) == images
    assert records.boots() == ({} if images else {"pc1": boot})


@pytest.mark.parametrize("images", [False, True])
def test_records_go_with_the_images(removed, tmp_path, state_dir, records, images):
    """Also those of an image and an ISO, which test=True leaves on record."""
    tree, iso = tmp_path / "export/tftp/netboot/x86_64/a", tmp_path / "export/dist/a.iso"
    tree.mkdir()
    iso.touch()
    facts = {"tree": {"bytes": 1}}
    image = {"name": "a", "label": "a", "file": "a.iso", "tree": str(tree), "facts": facts}
    records.write("images", "a", image)
    identity = netboot_files.identity(str(iso))
    record = {"source": "http://x/a.iso", "digests": {}, "identity": identity, "size": 0}
    records.write_iso(str(iso), record)
    assert (str(state_dir) in removed(images=images)) == images
    assert tree.exists() == iso.exists() == state_dir.exists() != images


def test_accounts_that_would_be_removed_before_keep_no_records(
    modules, state_dir, records, configured
):
    """Only foretold: the accounts are those of the machine that runs the tests."""
    configured()
    records.write("owned", "admins", {"nobody-at-all": {"uid": None, "keys": [], "sudo": False}})
    states = {
        "admins": {"netboot_admins": ["absent", {"name": "x"}, {"order": 1}]},
        "served": {"netboot_clean": ["served", {"name": "x"}]},
    }
    done = modules.state.high(states, test=True).raw.values()
    assert [one["changes"].get(str(state_dir)) for one in done] == [None, "removed"]
