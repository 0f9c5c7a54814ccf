"""Folders that become parts of an image: written, given one time, packed."""

import gzip
import os
import shutil

from lab.iso.scratch import run

EXECUTABLE = ("sbin/init", "init", "dhcp.sh", "bin/busybox")


def write(tree, files):
    """Writes files (content as str or bytes by path) under tree, readable by all."""
    tree.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755 if name in EXECUTABLE else 0o644)


def set_times(tree, epoch):
    """Gives everything in tree the same time, so that the same image comes out again."""
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (epoch, epoch))


def initramfs(tree, files, epoch):
    """An initramfs of files (as for write()) as bytes; tree is a folder to make it in."""
    write(tree, files)
    set_times(tree, epoch)
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    archive = tree.with_suffix(".cpio")
    run(
        *("cpio", "-o", "-H", "newc", "-R", "+0:+0", "--reproducible", "-F", str(archive)),
        cwd=tree,
        stdin="\n".join(names),
    )
    packed = gzip.compress(archive.read_bytes(), mtime=0)
    archive.unlink()
    shutil.rmtree(tree)
    return packed
