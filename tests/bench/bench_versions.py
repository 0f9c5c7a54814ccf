"""
An apply that changes nothing, by this version and by an older one, side by side.

    .venv/bin/python -m tests.bench.bench_versions [COMMIT]

Masterless with 5 images, and over salt-ssh on two machines of the lab, in turn. It prints medians
and ratios, and never fails on time.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import Lab
from lab.demo import PACKAGES
from lab.iso import make_iso as make_bootable
from lab.salt import SaltSsh
from tests.bench.bench_apply import CHECKOUT, SMALL, Server
from tests.isos import make_iso

ROUNDS = 7
IMAGES = 5
BEFORE = "23b0365"


def tree_of(commit, folder):
    """The tree of a commit, from the clone's history."""
    folder.mkdir()
    archive = subprocess.run(
        ["git", "-C", CHECKOUT, "archive", commit], check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def compare(what, ours, theirs):
    """Run both in turn; print how long each takes."""
    runs = [(timed(ours), timed(theirs)) for _ in range(ROUNDS)]
    now, before = (statistics.median(column) for column in zip(*runs))
    ratio = statistics.median(one / other for one, other in runs)
    print(f"{what}: {now:.2f} s, before {before:.2f} s, ratio {ratio:.2f}", flush=True)


def timed(call):
    started = time.monotonic()
    call()
    return time.monotonic() - started


def masterless(base, before):
    isos = []
    for number in range(IMAGES):
        isos.append(Path(make_iso(base / f"alt-{number}.iso", SMALL, {"number": b"%d" % number})))
        shutil.rmtree(base / f"alt-{number}.tree")
    servers = [Server(base / "now"), Server(base / "then", before)]
    for server in servers:
        server.name(isos)
        server.apply()
    compare(f"salt-call, {IMAGES} images", *(server.apply for server in servers))


def over_ssh(base, before):
    iso = make_bootable(base)
    with Lab(logs=base / "logs") as lab:
        web = lab.web(iso.path.parent)
        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        applies = []
        for name, checkout in (("netboot1", CHECKOUT), ("netboot2", before)):
            server = lab.server(name, packages=PACKAGES)
            salt = SaltSsh(
                lab, [server], {"netboot": {"images": {"ALT": image}}}, checkout=checkout
            )
            assert salt.apply(server).failed == {}
            applies.append(lambda salt=salt, server=server: unchanged(salt.apply(server)))
        compare("salt-ssh", *applies)


def unchanged(done):
    assert (done.failed, done.changed) == ({}, {})


def main():
    with tempfile.TemporaryDirectory(prefix="netboot-bench.") as base:
        base = Path(base)
        before = tree_of(sys.argv[1] if sys.argv[1:] else BEFORE, base / "before")
        masterless(base, before)
        over_ssh(base, before)


if __name__ == "__main__":
    main()
