"""Packages with ALT's kind of version, made by rpmbuild, for repositories of the stand-in."""

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.host import require

STANDIN = Path(__file__).with_name("apt_standin.py")
MIRROR = "ftp.altlinux.org/pub/distributions/ALTLinux"
TASKS = "git.altlinux.org/repo"

SPEC = """Name: {name}
Version: {version}
Release: {release}
{tags}
Summary: Made for tests of netboot-alt
License: Apache-2.0
%define _build_id_links none
%define __os_install_post %{{nil}}
AutoReqProv: no
%description
Not a package of ALT Linux.
{scripts}
%files
{files}
"""


def install_standin(prefix):
    """Put the stand-in's programs below `prefix`. Returns the folder for PATH."""
    folder = Path(prefix, "usr/bin")
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("apt-get", "apt-cache", "apt-repo"):
        shutil.copy(STANDIN, folder / name)
    sources = Path(prefix, "etc/apt/sources.list")
    sources.parent.mkdir(parents=True, exist_ok=True)
    sources.write_text(f"rpm [p11] http://{MIRROR} p11/branch/{platform.machine()} classic\n")
    branch(prefix).mkdir(parents=True, exist_ok=True)
    return folder


def branch(prefix, name="p11"):
    """The folder of a branch's packages, in the stand-in's Internet below `prefix`."""
    return Path(prefix, "srv/web", f"{MIRROR}/{name}/branch/{platform.machine()}/RPMS.classic")


def task(prefix, number):
    """The folder of a task's packages."""
    folder = Path(prefix, "srv/web", f"{TASKS}/{number}/{platform.machine()}/RPMS.task")
    folder.mkdir(parents=True)
    return folder


def build(folder, name, evr, built="p11+300891.100.2.1@1654002425", tags=(), scripts="", tree=None):
    """Make an rpm package. Returns its path.

    folder: where it goes; evr: [EPOCH:]VERSION-RELEASE; built: branch, task and time of the build;
    tags: more lines for its head, such as "Requires: x"; scripts: sections such as %pre; tree: a
    folder whose files it has, None for no files.
    """
    require("rpmbuild")
    epoch, _, version = evr.rpartition(":")
    version, _, release = version.partition("-")
    disttag, _, seconds = built.partition("@")
    files = [] if tree is None else _files(Path(tree))
    spec = SPEC.format(
        name=name,
        version=version,
        release=release,
        tags="\n".join([*([f"Epoch: {epoch}"] if epoch else []), *tags]),
        scripts=scripts,
        files="\n".join(files),
    )
    with tempfile.TemporaryDirectory(prefix="netboot-lab.") as work:
        Path(work, "package.spec").write_text(spec)
        buildroot = Path(work, "buildroot")
        if tree is None:
            buildroot.mkdir()
        else:
            shutil.copytree(tree, buildroot, symlinks=True)
        macros = {
            "_topdir": f"{work}/build",
            "_rpmdir": f"{work}/rpms",
            "buildroot": str(buildroot),
            "__spec_install_pre": "%{nil}",
            "_binaries_in_noarch_packages_terminate_build": "0",
            "disttag": disttag,
            "use_source_date_epoch_as_buildtime": "1",
        }
        defines = [word for key, value in macros.items() for word in ("-D", f"{key} {value}")]
        subprocess.run(
            ["rpmbuild", "-bb", "--quiet", "--target", "noarch", *defines, f"{work}/package.spec"],
            check=True,
            env={**os.environ, "HOME": work, "SOURCE_DATE_EPOCH": seconds},
            stdout=subprocess.DEVNULL,
        )
        (made,) = Path(work, "rpms").glob("*/*.rpm")
        return Path(shutil.move(made, Path(folder, made.name)))


def _files(tree):
    """The lines of %files."""
    return [
        f"/{path.relative_to(tree)}"
        for path in sorted(tree.rglob("*"))
        if path.is_symlink() or not path.is_dir()
    ]
