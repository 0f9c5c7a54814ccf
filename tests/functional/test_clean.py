"""netboot.clean where the served folder, or one below it, is a file system of its own."""

import subprocess

import pytest


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
    records.write("images", "kept", {"label": "kept"})
    done = states.netboot_clean.served("served files")
    assert done.result is True, done.comment
    assert done.changes == {str(root / "dist"): "removed"}
    assert (root / "tftp/netboot/x86_64/mounted/empty").is_dir()


def test_folder_that_is_gone(states, records, configured):
    configured()
    records.write("images", "kept", {"label": "kept"})
    done = states.netboot_clean.served("served files")
    assert (done.result, done.changes) == (True, {})
