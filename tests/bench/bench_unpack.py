"""
Unpacking a large ISO against bsdtar, 7z, xorriso and plain cp.

    .venv/bin/python -m tests.bench.bench_unpack [FOLDER]

FOLDER: where to work, on the disk to measure; 7 GB. All read from the page cache. Ours also
computes the SHA-256 of kernel, initrd and stage (1 GB), and ends with the tree on the disk
(syncfs), so the peers are measured with `sync -f` after them too. It prints, and never fails on
time.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab.host import PACKAGES, require
from tests.isos import BOOT, FILES, STAGES, make_iso

ROUNDS = 3
CHECKOUT = Path(__file__).resolve().parents[2]
MIB = 2**20

OURS = """
import sys, time
sys.path.insert(0, "salt/_utils")
import iso_tree
if sys.argv[1] == "unsynced":
    iso_tree._flush = lambda tree: None
started = time.monotonic()
iso_tree.unpack(*sys.argv[2:5], names=sys.argv[5:] or None)
print(time.monotonic() - started)
"""


def ours(iso, target, sync, names=()):
    """Seconds for iso_tree.unpack, without the interpreter's start, which an apply pays once."""
    words = [sys.executable, "-c", OURS, "synced" if sync else "unsynced"]
    words += [iso, target / "tree", target / "staging", *names]
    done = subprocess.run(words, check=True, cwd=CHECKOUT, capture_output=True, text=True)
    return float(done.stdout)


def peer(*words):
    def run(iso, target, sync):
        command = [word.format(iso=iso, target=target) for word in words]
        started = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        if sync:
            subprocess.run(["sync", "-f", target], check=True)
        return time.monotonic() - started

    return run


WAYS = {
    "ours, the whole tree": ours,
    "bsdtar": peer("bsdtar", "-x", "-f", "{iso}", "-C", "{target}"),
    "bsdtar, then openssl dgst": peer(
        "sh",
        "-c",
        "bsdtar -x -f {iso} -C {target} && cd {target} && openssl dgst -sha256 live boot/vmlinuz",
    ),
    "7z": peer("7z", "x", "-y", "-o{target}", "{iso}"),
    "xorriso": peer("xorriso", "-osirrox", "on", "-indev", "{iso}", "-extract", "/", "{target}/x"),
    "cp of the ISO": peer("cp", "{iso}", "{target}/copy"),
    "ours, stages": lambda *args: ours(*args, names=STAGES),
    "ours, kernel and initrd": lambda *args: ours(*args, names=BOOT),
}


def measure(iso, work):
    """Prints seconds by way (median of rounds in turn) and ratios to bsdtar's."""
    for sync in (False, True):
        seconds = {name: [] for name in WAYS}
        for _ in range(ROUNDS):
            for name, way in WAYS.items():
                target = work / "target"
                target.mkdir()
                subprocess.run(["cat", iso], check=True, stdout=subprocess.DEVNULL)
                seconds[name].append(way(iso, target, sync))
                subprocess.run(["chmod", "-R", "u+w", target], check=True)
                shutil.rmtree(target)
                os.sync()
        print(f"\n{'on the disk' if sync else 'in the page cache':28}  seconds    x bsdtar")
        bsdtar = statistics.median(seconds["bsdtar"])
        for name, found in seconds.items():
            median = statistics.median(found)
            print(f"{name:28} {median:8.2f}  {median / bsdtar:10.2f}")


def memory(iso, work):
    """Prints the peak memory of a Python that unpacks, above one that does nothing."""
    peaks = []
    for words in (["pass"], [OURS, "synced", iso, work / "tree", work / "staging"]):
        command = [sys.executable, "-c", *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=CHECKOUT)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, "unpacking failed"
        peaks.append(usage.ru_maxrss / 1024)
    print(f"\npeak memory: python3 {peaks[0]:.0f} MiB, unpack {peaks[1]:.0f} MiB")


def fill(tree):
    """Write a stage of 1000 MiB and 2400 packages; nothing large is held, for memory()."""
    packages = tree / "ALTLinux/RPMS.main"
    packages.mkdir(parents=True)
    for number in range(2400):
        (packages / f"package-{number}-1-alt1.x86_64.rpm").write_bytes(os.urandom(MIB // 4))
    with open(tree / "live", "wb") as live:
        for _ in range(1000):
            live.write(os.urandom(MIB))


def main():
    PACKAGES.update({"bsdtar": "libarchive-tools", "7z": "p7zip-full"})
    require("bsdtar", "7z", "xorriso")
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=folder, prefix="netboot-bench.") as base:
        work = Path(base)
        iso = work / "large.iso"
        fill(iso.with_suffix(".tree"))
        make_iso(iso, {name: data for name, data in FILES.items() if name != "live"})
        shutil.rmtree(work / "large.tree")
        print(f"ISO of {os.path.getsize(iso) / 1e9:.2f} GB, {ROUNDS} rounds, on {work}")
        measure(iso, work)
        memory(iso, work)


if __name__ == "__main__":
    main()
