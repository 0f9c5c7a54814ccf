"""
What an unchanged image costs in an apply, the state machinery included.

    .venv/bin/python -m tests.bench.bench_apply [IMAGES ...]

Masterless `salt-call state.apply netboot.images` with 5, 20 and 100 images, each with an ISO of
its own; nothing has changed since the apply before. It prints, and never fails on time.
"""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.isos import FILES, make_iso

ROUNDS = 5
CHECKOUT = Path(__file__).resolve().parents[2]
SALT_CALL = CHECKOUT / ".venv/bin/salt-call"
# As on people's machines, where Python keeps what it has compiled.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
SMALL = {**FILES, "live": b"stage", "boot/initrd.img": b"initrd", "boot/vmlinuz": b"kernel"}


class Server:
    """A configuration for salt-call, below a folder of its own."""

    def __init__(self, base, checkout=CHECKOUT):
        self.config, self.root = base / "config", base / "export"
        self.config.mkdir(parents=True)
        self.pillar = self.config / "pillar"
        self.pillar.mkdir()
        (self.pillar / "top.sls").write_text("base: {'*': [netboot]}\n")
        settings = {
            "id": "bench",
            "file_client": "local",
            "root_dir": str(base / "salt"),
            "file_roots": {"base": [str(checkout / "salt")]},
            "pillar_roots": {"base": [str(self.pillar)]},
            "module_dirs": [str(checkout / "salt")],
            "netboot.state_dir": str(base / "records"),
        }
        (self.config / "minion").write_text(json.dumps(settings))

    def name(self, isos, **more):
        """Put ISOs into the pillar, and into the place where a fetch would have put them."""
        images = {}
        (self.root / "dist").mkdir(parents=True, exist_ok=True)
        for iso in isos:
            shutil.copyfile(iso, self.root / "dist" / iso.name)
            digest = hashlib.sha256(iso.read_bytes()).hexdigest()
            url = f"http://192.0.2.1/{iso.name}"
            images[iso.stem] = {"url": url, "checksum": {"sha256": digest}}
        pillar = {"netboot": {"interface": "lo", "root": str(self.root), "images": images, **more}}
        (self.pillar / "netboot.sls").write_text(json.dumps(pillar))

    def call(self, *words):
        """What salt-call returns."""
        command = [SALT_CALL, "-c", self.config, "--out=json", *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=ENVIRONMENT)
        return json.loads(done.stdout)["local"]

    def apply(self):
        """Apply; returns (seconds, those of the states alone, how many had changes)."""
        started = time.monotonic()
        states = self.call("state.apply", "netboot.images").values()
        seconds = time.monotonic() - started
        assert all(state["result"] for state in states), states
        inside = sum(state["duration"] for state in states) / 1000
        return seconds, inside, sum(bool(state["changes"]) for state in states)


def main():
    counts = [int(word) for word in sys.argv[1:]] or [5, 20, 100]
    with tempfile.TemporaryDirectory(prefix="netboot-bench.") as base:
        base = Path(base)
        isos = []
        for number in range(max(counts)):
            more = {"number": os.urandom(8)}
            isos.append(Path(make_iso(base / f"alt-{number}.iso", SMALL, more)))
            shutil.rmtree(base / f"alt-{number}.tree")
        found = {}
        for count in [0, *counts]:
            server = Server(base / f"server-{count}")
            server.name(isos[:count])
            server.apply()
            runs = [server.apply() for _ in range(ROUNDS)]
            assert not any(changed for _, _, changed in runs), (
                "an unchanged apply changed something"
            )
            found[count] = [statistics.median(column) for column in list(zip(*runs))[:2]]
            seconds, inside = found[count]
            line = f"{count:4} images: {seconds:6.2f} s, of which the states {inside:5.2f} s"
            if count:
                each = 1000 * (seconds - found[0][0]) / count
                line += f"; {each:5.1f} ms for each image"
            print(line, flush=True)


if __name__ == "__main__":
    main()
