"""Records backed up and restored: who has booted is kept, nobody is armed."""

import json
import os
import shutil
import tarfile

import pytest
from salt.exceptions import CommandExecutionError

from tests.functional.test_once import boot, host, server  # noqa: F401


@pytest.fixture
def saved(server, modules, tmp_path):  # noqa: F811
    """A backup of a server with pc1 booted, pc2 armed and pc3 new; the records are lost since."""
    server.reconcile(host("pc1"), host("pc2"), host("pc3"))
    boot(server, "pc1")
    path = tmp_path / "netboot.tar.gz"
    server.tokens = server.records.joinpath("owned/once.json").read_text()
    done = modules.netboot.backup(str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert (done["file"], done["bytes"]) == (str(path), path.stat().st_size)
    assert not any(name.endswith(".new") for name in os.listdir(tmp_path))
    shutil.rmtree(server.records)
    shutil.rmtree(server.scripts)
    server.scripts.mkdir()
    return path


def test_restored(saved, server, modules):  # noqa: F811
    done = modules.netboot.restore(str(saved))
    assert done["disarmed"] == ["pc2", "pc3"]
    assert server.records.stat().st_mode & 0o777 == 0o700
    server.reconcile(host("pc1"), host("pc2"), host("pc3"))
    assert (server.armed(), server.booted()) == ([], ["pc1"])
    now = json.loads(server.records.joinpath("owned/once.json").read_text())
    assert not any(one["arming"] in server.tokens for one in now.values())
    modules.netboot.arm("pc2")
    assert server.armed() == ["pc2"]


def test_restore_beside_records(saved, modules, configured):
    configured()
    with pytest.raises(CommandExecutionError, match="has records already; apply the state"):
        modules.netboot.restore(str(saved))


def test_restore_beside_files_of_somebody_else(saved, server, modules):  # noqa: F811
    own = server.records / "notes.txt"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(CommandExecutionError, match="has files that are no records"):
        modules.netboot.restore(str(saved))
    assert own.read_text() == "mine"
    assert os.listdir(server.records) == ["notes.txt"]
    own.unlink()
    assert modules.netboot.restore(str(saved))["disarmed"]


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("../escaped.json", tarfile.REGTYPE, "is no backup .* is in it"),
        ("/etc/cron.d/x", tarfile.REGTYPE, "is no backup .* is in it"),
        ("owned/once.json", tarfile.SYMTYPE, "is no backup .* is in it"),
        ("owned/trees.json", tarfile.REGTYPE, "no configuration"),
    ],
)
def test_file_that_is_no_backup(server, modules, tmp_path, name, kind, text):  # noqa: F811
    shutil.rmtree(server.records)
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(CommandExecutionError, match=text):
        modules.netboot.restore(str(path))
    assert not server.records.exists()


def test_damaged_file(saved, server, modules):  # noqa: F811
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(CommandExecutionError, match="cannot be read"):
        modules.netboot.restore(str(saved))
    assert not server.records.exists()


def test_backup_where_it_cannot_be_written(modules, configured, tmp_path):
    with pytest.raises(CommandExecutionError, match="Nothing was applied"):
        modules.netboot.backup(str(tmp_path / "a.tar.gz"))
    configured()
    with pytest.raises(CommandExecutionError, match="give an absolute path"):
        modules.netboot.backup("a.tar.gz")
    with pytest.raises(CommandExecutionError, match="cannot be written: No such file"):
        modules.netboot.backup(str(tmp_path / "absent/a.tar.gz"))
