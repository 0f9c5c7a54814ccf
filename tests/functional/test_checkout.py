"""A fresh checkout works as it is, for a user without rights, and writes only to its own cache."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

PROGRAMS = CHECKOUT / ".venv/bin"


@pytest.fixture(scope="module")
def checkout():
    """What git has, owned by nobody; not below pytest's folder, which only root may enter."""
    with tempfile.TemporaryDirectory(prefix="netboot-fresh.") as base:
        os.chmod(base, 0o755)  # noqa: S103
        yield _checkout(Path(base))


def _checkout(base):
    copy = base / "netboot-alt"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, copy / name, follow_symlinks=False)
    nobody = pwd.getpwnam("nobody").pw_uid
    for folder, folders, files in os.walk(base):
        for name in [".", *folders, *files]:
            os.lchown(os.path.join(folder, name), nobody, -1)
    return copy


def salt_call(checkout, *argv):
    return subprocess.run(
        ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "env", "-i",
         "PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"HOME={checkout.parent}",
         PROGRAMS / "salt-call", *argv],
        cwd=checkout, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def files(checkout):
    return {
        path for path in checkout.parent.rglob("*")
        if ".cache" not in path.parts and "__pycache__" not in path.parts
    }  # fmt: skip


def test_show_top(checkout):
    done = salt_call(checkout, "state.show_top")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "- netboot" in done.stdout


def test_apply_in_test_mode_foretells_everything_and_writes_nothing_elsewhere(checkout):
    before = files(checkout)
    done = salt_call(checkout, "state.apply", "test=True")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "would be fetched from http://" in done.stdout
    assert "Failed:     0" in done.stdout
    assert files(checkout) == before
    assert not os.path.exists("/srv/export")
    assert not os.path.exists("/var/lib/netboot")


def test_a_mistyped_key_is_named(checkout):
    done = salt_call(
        checkout, "state.apply", "test=True", 'pillar={"netboot": {"imags": {}, "interface": "lo"}}'
    )
    assert done.returncode == 1
    assert "netboot:imags: unknown key, did you mean images?" in done.stdout
