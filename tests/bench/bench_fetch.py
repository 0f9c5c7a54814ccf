"""
Fetching and verifying a large ISO against curl then openssl, aria2c, and Salt's file.managed.

    .venv/bin/python -m tests.bench.bench_fetch [FOLDER]

FOLDER: where to work, on the disk to measure; 6 GB. The source is an HTTP server on loopback that
sends from the page cache. Ours ends with the file on the disk (fsync), which no peer does: all are
measured without it, and the peers with `sync` after them too. The best of the rounds counts, as
other work on the machine only adds time. It prints, and never fails on time.
"""

import functools
import hashlib
import http.server
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab.host import PACKAGES, require

ROUNDS = 5
MIB = 2**20
SIZE = 1600 * MIB
CHECKOUT = Path(__file__).resolve().parents[2]
SALT_CALL = CHECKOUT / ".venv/bin/salt-call"

OURS = """
import os, sys, time
sys.path.insert(0, "salt/_utils")
from iso_download import Fetches, How
sync, url, target, staging, *digests = sys.argv[1:]
if sync == "unsynced":
    os.fsync = os.fdatasync = lambda handle: None
started = time.monotonic()
fetches = Fetches(How(staging, 5, 60), {})
fetches.fetch([url], target, dict(zip(digests[::2], digests[1::2])))
print(time.monotonic() - started)
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def copyfile(self, source, outputfile):
        self.connection.sendfile(source)

    def log_message(self, *args):
        """Nothing."""


def serve(folder, pipe):
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        pipe.send(server.server_port)
        server.serve_forever()


class Bench:
    """One ISO, in a folder and on a web server, and the ways to get it into another folder."""

    def __init__(self, work, url, digests):
        self.work, self.url, self.digests = work, url, digests
        self.source, self.target = work / "web/big.iso", work / "target/big.iso"
        self.staging = work / "target/staging"

    def fresh(self):
        shutil.rmtree(self.work / "target", ignore_errors=True)
        self.staging.mkdir(parents=True, mode=0o700)
        shutil.rmtree(self.work / "salt/var/cache", ignore_errors=True)
        subprocess.run(["cat", self.source], check=True, stdout=subprocess.DEVNULL)
        os.sync()

    def timed(self, *words, sync=False):
        started = time.monotonic()
        subprocess.run(words, check=True, capture_output=True)
        if sync and self.target.exists():
            subprocess.run(["sync", self.target], check=True)
        return time.monotonic() - started

    def ours(self, url, kinds, sync):
        words = [word for kind in kinds for word in (kind, self.digests[kind])]
        how = ["synced" if sync else "unsynced", url, self.target, self.staging]
        command = [sys.executable, "-c", OURS, *how, *words]
        done = subprocess.run(command, check=True, cwd=CHECKOUT, capture_output=True, text=True)
        return float(done.stdout)

    def curl(self, sync):
        return self.timed("curl", "-sf", "-o", self.target, self.url, sync=sync)

    def openssl(self, kind="sha256"):
        return self.timed("openssl", "dgst", f"-{kind}", self.source)

    def curl_openssl(self, sync):
        return self.curl(sync) + self.timed("openssl", "dgst", "-sha256", self.target)

    def aria2c(self, sync):
        checksum = f"--checksum=sha-256={self.digests['sha256']}"
        folder, name = f"--dir={self.target.parent}", f"--out={self.target.name}"
        return self.timed("aria2c", "-q", checksum, folder, name, self.url, sync=sync)

    def salt_call(self, *words, sync=False):
        return self.timed(SALT_CALL, "--local", "-c", self.work / "config", *words, sync=sync)

    def file_managed(self, sync):
        words = [f"source={self.url}", f"source_hash={self.digests['sha256']}"]
        return self.salt_call("state.single", "file.managed", self.target, *words, sync=sync)

    def ways(self):
        return {
            "download alone: curl": self.curl,
            "hash alone: openssl": lambda sync: self.openssl(),
            "hash alone, sha512": lambda sync: self.openssl("sha512"),
            "ours": lambda sync: self.ours(self.url, ["sha256"], sync),
            "ours, sha512 and sha256": lambda sync: self.ours(self.url, ["sha512"], sync),
            "ours, from a file": lambda sync: self.ours(f"file://{self.source}", ["sha256"], sync),
            "curl, then openssl": self.curl_openssl,
            "aria2c --checksum": self.aria2c,
            "file.managed, by salt-call": self.file_managed,
        }

    def measure(self):
        """Print seconds by way (best of all rounds), ratios to the slower of the first two."""
        ways = self.ways()
        for sync in (False, True):
            seconds = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, way in ways.items():
                    self.fresh()
                    seconds[name].append(way(sync))
            best = {name: min(found) for name, found in seconds.items()}
            slower = max(list(best.values())[:2])
            where = "on the disk" if sync else "in the page cache"
            print(f"\n{where:28}  seconds    x slower of download, hash")
            for name, least in best.items():
                print(f"{name:28} {least:8.2f}  {least / slower:10.2f}", flush=True)

    def memory(self):
        """Print the peak memory of a Python that fetches, above one that does nothing."""
        peaks = []
        fetch = [OURS, "synced", self.url, self.target, self.staging]
        for words in (["pass"], [*fetch, "sha256", self.digests["sha256"]]):
            self.fresh()
            command = [sys.executable, "-c", *words]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=CHECKOUT)
            _, status, usage = os.wait4(process.pid, 0)
            assert status == 0, "the fetch failed"
            peaks.append(usage.ru_maxrss / 1024)
        print(f"\npeak memory: python3 {peaks[0]:.0f} MiB, fetch {peaks[1]:.0f} MiB")


def main():
    PACKAGES.update({"curl": "curl", "aria2c": "aria2", "openssl": "openssl"})
    require("curl", "aria2c", "openssl")
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=folder, prefix="netboot-bench.") as base:
        work = Path(base)
        for name in ("web", "config"):
            (work / name).mkdir()
        (work / "config/minion").write_text(
            f"{{id: bench, file_client: local, root_dir: {work}/salt, "
            f"module_dirs: [{CHECKOUT}/salt]}}\n"
        )
        hashers = {kind: hashlib.new(kind) for kind in ("sha256", "sha512")}
        with open(work / "web/big.iso", "wb") as file:
            for _ in range(SIZE // MIB):
                block = os.urandom(MIB)
                file.write(block)
                for hasher in hashers.values():
                    hasher.update(block)
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.Process(target=serve, args=(work / "web", theirs), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{ours.recv()}/big.iso"
        print(f"ISO of {SIZE / 1e9:.2f} GB, {ROUNDS} rounds, on {work}", flush=True)
        bench = Bench(work, url, {kind: one.hexdigest() for kind, one in hashers.items()})
        bench.measure()
        bench.memory()
        server.terminate()


if __name__ == "__main__":
    main()
