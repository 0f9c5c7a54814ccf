"""
`git pull` and a user's own pillar and roster.

The repository is a small one: the samples as they were tracked once, then as they are now.
"""

import os
import re
import shutil
import subprocess

import pytest

from tests.checkout import SOURCE

FILES = ("pillar/netboot.sls", "pillar/top.sls", "conf/roster")
EDIT = "\n# mine\n"


def git(folder, *argv, check=True):
    identity = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    for who in ("AUTHOR", "COMMITTER"):
        identity |= {f"GIT_{who}_NAME": "n", f"GIT_{who}_EMAIL": "n@example.org"}
    argv = argv if argv[0] == "sh" else ["git", *argv]
    environment = {**os.environ, **identity}
    return subprocess.run(
        argv, cwd=folder, env=environment, check=check, capture_output=True, text=True
    )


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "next")


@pytest.fixture
def clones(tmp_path):
    """Folders of the project's repository, and of a user's clone from before the renaming."""
    project, user = tmp_path / "project", tmp_path / "user"
    for name in FILES:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / f"{name}.example", project / name)
    git(project, "init", "--quiet")
    commit(project)
    git(tmp_path, "clone", "--quiet", project, user)
    for name in FILES:
        (project / name).rename(project / f"{name}.example")
    shutil.copy(SOURCE / ".gitignore", project)
    change_samples(project)
    return project, user


def change_samples(project):
    for name in FILES:
        with open(project / f"{name}.example", "a") as file:
            file.write("# another line of the project's\n")
    commit(project)


def documented():
    """The commands of CHANGELOG.md for a user from the time when git had the files.

    Without edits that are committed, and with.
    """
    text = (SOURCE / "CHANGELOG.md").read_text()
    return re.findall(r"```\n( *tar -cf.*?)```", text, re.DOTALL)


def edit(user, names):
    for name in names:
        with open(user / name, "a") as file:
            file.write(EDIT)


@pytest.mark.parametrize("edited", [FILES, FILES[:1], FILES[1:]])
def test_from_tracked_samples(clones, edited):
    project, user = clones
    edit(user, edited)
    before = {name: (user / name).read_text() for name in FILES}
    # git itself refuses, and leaves all as it was.
    assert git(user, "pull", check=False).returncode == 1
    assert {name: (user / name).read_text() for name in FILES} == before
    git(user, "sh", "-ec", documented()[0])
    assert {name: (user / name).read_text() for name in FILES} == before
    assert git(user, "status", "--porcelain").stdout == ""
    change_samples(project)
    git(user, "pull")
    assert {name: (user / name).read_text() for name in FILES} == before
    assert git(user, "status", "--porcelain").stdout == ""


@pytest.mark.parametrize("fetched", [False, True])
def test_from_committed_edits(clones, fetched):
    project, user = clones
    edit(user, FILES)
    before = {name: (user / name).read_text() for name in FILES}
    commit(user)
    if fetched:
        assert git(user, "pull", "--no-rebase", check=False).returncode == 1
        git(user, "merge", "--abort")
    git(user, "sh", "-ec", documented()[1])
    assert {name: (user / name).read_text() for name in FILES} == before
    assert EDIT not in (user / f"{FILES[0]}.example").read_text()
    change_samples(project)
    git(user, "pull", "--no-rebase")
    assert git(user, "status", "--porcelain").stdout == ""
    assert {name: (user / name).read_text() for name in FILES} == before


def test_files_of_the_user_are_ignored(clones):
    project, user = clones
    git(user, "pull")
    assert not (user / FILES[0]).exists(), "git deletes what nobody edited"
    for name in (*FILES, "pillar/room12.sls"):
        (user / name).write_text(EDIT)
    change_samples(project)
    git(user, "pull")
    assert git(user, "status", "--porcelain").stdout == ""
    assert (user / FILES[0]).read_text() == EDIT
