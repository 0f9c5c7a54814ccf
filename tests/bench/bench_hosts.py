"""
What hosts cost in an apply: the first that knows them, and one in which nothing has changed.

    .venv/bin/python -m tests.bench.bench_hosts [HOSTS ...]

Masterless `salt-call state.apply netboot.menus` with 50 images that are ready and 100, 1000, 5000
and 10000 hosts, each of which boots something once; then the state that puts them on record. It
prints the seconds of the one state that writes all scripts, and never fails on time.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.bench_apply import SMALL, Server
from tests.isos import make_iso

IMAGES = 50


def hosts_of(count, isos):
    return {
        f"pc{number}": {
            "mac": "52:54:00:{:02x}:{:02x}:{:02x}".format(*number.to_bytes(3, "big")),
            "image": isos[number % len(isos)].stem,
            "variant": "livecd",
            "arguments": ["quiet", f"number={number}"],
            "once": True,
        }
        for number in range(count)
    }


def menus(server):
    """Apply the menus; returns (seconds in all, seconds of the first state, files changed)."""
    started = time.monotonic()
    states = server.call("state.apply", "netboot.menus")
    seconds = time.monotonic() - started
    assert all(state["result"] for state in states.values()), states
    (state,) = [one for one in states.values() if one["__id__"] == "netboot-menus-before"]
    return seconds, state["duration"] / 1000, len(state["changes"])


def arm(server):
    """Arm the hosts; returns (seconds of the state, what changed)."""
    (server.root.parent / "records-once").mkdir(exist_ok=True)
    (state,) = server.call("state.single", "netboot_once.armed", "hosts").values()
    assert state["result"], state
    return state["duration"] / 1000, len(state["changes"])


def main():
    counts = [int(word) for word in sys.argv[1:]] or [100, 1000, 5000, 10000]
    with tempfile.TemporaryDirectory(prefix="netboot-bench.") as base:
        base = Path(base)
        isos = []
        for number in range(IMAGES):
            more = {"number": os.urandom(8)}
            isos.append(Path(make_iso(base / f"alt-{number}.iso", SMALL, more)))
            shutil.rmtree(base / f"alt-{number}.tree")
        server = Server(base / "server")
        server.name(isos)
        server.apply()
        for count in counts:
            server.name(isos, hosts=hosts_of(count, isos))
            _, first, written = menus(server)
            assert len(server.call("netboot.entries")) >= IMAGES, "the images are not ready"
            seconds, again, changed = menus(server)
            armed, _ = arm(server)
            armed_again, still = arm(server)
            assert not changed, "an unchanged run changed something"
            assert not still, "an unchanged run armed somebody"
            print(
                f"{count:5} hosts: {written} scripts in {first:5.2f} s, unchanged {again:5.2f} s "
                f"(salt-call in all {seconds:5.2f} s); all on record in {armed:5.2f} s, "
                f"unchanged {armed_again:5.2f} s",
                flush=True,
            )
            server.name(isos)
            menus(server)
            arm(server)


if __name__ == "__main__":
    main()
