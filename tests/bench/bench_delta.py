"""
A new revision of an ISO as a delta, against fetching it whole and against a patch by xdelta3.

    .venv/bin/python -m tests.bench.bench_delta [MEGABYTES]

The ISOs have a squashfs of files of Debian packages that this machine has, MEGABYTES of them (400).
In another revision a byte is put into every 1,009 bytes of all files of some packages. Whole files
of few packages change, as in an update; what a compiler or an image builder moves besides is not in
it, so real revisions must be measured before a number is promised. It prints, and never fails.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from lab.host import require
from tests.functional.ranges import RangesWeb

sys.path.insert(0, "salt/_utils")

import iso_delta  # noqa: E402
from iso_choice import Choice  # noqa: E402
from iso_download import Fetches, How  # noqa: E402

EVERY = 1009
SHARES = (0.005, 0.024, 0.055, 0.106)
EPOCH = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
SQUASH = ["-noappend", "-quiet", "-no-progress", "-no-xattrs", "-b", "128K", "-comp", "zstd"]
SQUASH += ["-mkfs-time", "1700000000", "-all-time", "1700000000"]


def packages(most):
    """Files below /usr of some packages, as many bytes as wanted; always the same packages."""
    listed = ["dpkg-query", "-W", "-f", "${Package}\n"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    names.sort(key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    found, total = {}, 0
    for name in names:
        done = subprocess.run(["dpkg", "-L", name], check=True, capture_output=True, text=True)
        paths = [Path(line) for line in done.stdout.splitlines() if line.startswith("/usr/")]
        files = [path for path in paths if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files)
        if not files or size > most // 20:
            continue
        found[name] = (files, size)
        total += size
        if total > most:
            break
    return found


def make_iso(tree, iso):
    squash = tree.parent / "stage" / "live"
    squash.parent.mkdir(exist_ok=True)
    subprocess.run(["mksquashfs", tree, squash, *SQUASH], check=True)
    words = ["xorriso", "-as", "mkisofs", "-quiet", "-r", "-V", "BENCH", "-o", iso, squash.parent]
    subprocess.run(words, check=True, env=EPOCH, capture_output=True)


def change(files, tree):
    for path in files:
        there = tree / path.relative_to("/")
        data = there.read_bytes()
        there.write_bytes(b"#".join(data[at : at + EVERY] for at in range(0, len(data), EVERY)))


def fetched(web, work, old, new, deltas):
    """Bytes that the mirror sent, and seconds, of ours."""
    shutil.rmtree(work / "server", ignore_errors=True)
    (work / "server/.staging").mkdir(parents=True, mode=0o700)
    path = work / "server/a.iso"
    shutil.copy(old, path)
    data = new.read_bytes()
    web.files["/a.iso"], web.sent = data, {}
    how = How(
        str(work / "server/.staging"),
        1,
        600,
        choose=lambda sources, *_: Choice(sources, sources),
        seeds=(lambda path: [path]) if deltas else None,
    )
    started = time.monotonic()
    digest = hashlib.sha256(data).hexdigest()
    done = Fetches(how, {}).fetch([f"{web.url}/a.iso"], str(path), {"sha256": digest})
    assert bool(done["reused"]) == deltas, "no delta"
    return sum(web.sent.values()), time.monotonic() - started


def patched(work, old, new):
    """Bytes of a patch of xdelta3, and seconds to make it."""
    if not shutil.which("xdelta3"):
        return None
    started = time.monotonic()
    patch = work / "patch"
    words = ["xdelta3", "-e", "-f", "-1", "-B", str(1 << 29), "-s", old, new, patch]
    subprocess.run(words, check=True)
    return patch.stat().st_size, time.monotonic() - started


def small(web, work):
    """From which size on a delta pays: seconds of both ways on loopback, by size."""
    print("\n  size   whole   delta   the delta is faster below")
    for megabytes in (4, 16, 64, 256):
        old, new = work / "old", work / "new"
        old.write_bytes(os.urandom(megabytes << 20))
        data = bytearray(old.read_bytes())
        data[: len(data) // 20] = os.urandom(len(data) // 20)
        new.write_bytes(data)
        control(web, work, new)
        least, iso_delta.LEAST = iso_delta.LEAST, 0
        times = [fetched(web, work, old, new, deltas) for deltas in (False, True)]
        iso_delta.LEAST = least
        saved = times[0][0] - times[1][0]
        rate = saved / max(1e-3, times[1][1] - times[0][1])
        print(
            f"{megabytes:4} MiB {times[0][1]:6.2f} s {times[1][1]:6.2f} s   "
            f"{rate / 1e6:.0f} MB/s ({8 * rate / 1e6:.0f} Mbit/s)"
        )


def control(web, work, iso):
    """Make the control file; return its bytes and seconds."""
    (work / ".staging").mkdir(exist_ok=True, mode=0o700)
    started = time.monotonic()
    iso_delta.make(str(iso), str(work / "a.iso.zsync"), str(work / ".staging"))
    web.files["/a.iso.zsync"] = (work / "a.iso.zsync").read_bytes()
    return len(web.files["/a.iso.zsync"]), time.monotonic() - started


def main(megabytes=400):
    require("mksquashfs", "xorriso", "zsync")
    with tempfile.TemporaryDirectory(prefix="netboot-delta.", dir="/var/tmp") as base:
        os.chmod(base, 0o755)  # noqa: S103 (zsync runs as nobody)
        work, web = Path(base), RangesWeb()
        threading.Thread(target=web.serve_forever, daemon=True).start()
        listed = packages(megabytes * 1_000_000)
        total = sum(size for _, size in listed.values())
        tree, old = work / "tree", work / "old.iso"
        for files, _size in listed.values():
            for path in files:
                there = tree / path.relative_to("/")
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, there)
        make_iso(tree, old)
        size = old.stat().st_size
        whole = fetched(web, work, old, old, False)
        print(f"{len(listed)} packages, {total / 1e6:.0f} MB, ISO of {size / 1e6:.0f} MB")
        print(f"whole: {whole[0] / size:.1%} of it fetched, {whole[1]:.1f} s on loopback")
        print("\nchanged  packages  delta fetched  delta time  control file    xdelta3 patch")
        done, changed = set(), 0
        for share in SHARES:
            for name, (files, bytes_) in listed.items():
                if changed >= share * total:
                    break
                if name not in done and bytes_ < total * 0.01:
                    change(files, tree)
                    done.add(name)
                    changed += bytes_
            new = work / "new.iso"
            make_iso(tree, new)
            made = control(web, work, new)
            sent, seconds = fetched(web, work, old, new, True)
            patch = patched(work, old, new)
            told = f"{patch[0] / size:.1%}, {patch[1]:.0f} s" if patch else "not installed"
            print(
                f"{changed / total:6.1%}  {len(done):8}  {sent / size:13.1%}  {seconds:8.1f} s  "
                f"{made[0] / size:.2%} {made[1]:.1f} s    {told}",
                flush=True,
            )
        small(web, work)
        web.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
