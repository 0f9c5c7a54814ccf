"""
What netboot.bootable costs: an unchanged apply with and without it, in turn; and a try.

    .venv/bin/python -m tests.bench.bench_probe [ROUNDS]

On a lab machine, by salt-call. It prints, and never fails on time.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from lab import Lab
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.servers import INSTALLED


def main():
    rounds = int(sys.argv[1]) if sys.argv[1:] else 9
    with tempfile.TemporaryDirectory(prefix="netboot-bench.") as base, Lab(logs=Path(base)) as lab:
        iso = make_iso(Path(base, "iso"))
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        url = f"{lab.web(iso.path.parent).url}/{iso.path.name}"
        pillar = {"images": {"ALT p11": {"url": url, "checksum": {"sha256": iso.sha256}}}}
        salt = SaltCall(server, {"netboot": pillar})
        took = {True: [], False: []}
        for number in range(rounds + 1):
            for probe in took:
                salt.write_pillar({"netboot": {**pillar, "probe": probe}})
                salt.apply(server)  # the key itself is a change
                started = time.monotonic()
                again = salt.apply(server)
                assert (again.failed, again.changed) == ({}, {})
                if number:
                    took[probe].append(time.monotonic() - started)
        started = time.monotonic()
        salt.call(server, "netboot.check", "probe=True")
        tried = time.monotonic() - started
    with_it, without = (statistics.median(took[probe]) for probe in took)
    ratio = f"{with_it / without:.2f}"
    print(
        f"unchanged apply: {with_it:.2f} s with netboot.bootable, {without:.2f} s without: {ratio}"
    )
    print(f"netboot.check probe=True, all numbers of two kinds of firmware: {tried:.1f} s")


if __name__ == "__main__":
    main()
