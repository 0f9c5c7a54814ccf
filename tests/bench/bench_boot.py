"""
What reports of a menu's steps cost a boot: with and without them, in turn, in one lab.

    .venv/bin/python -m tests.bench.bench_boot [BOOTS]

Real firmware from power-on to the live system's marker, on an emulated processor. Without: the
lines that report are taken out of the menu on the server. It prints the seconds and their ratio.
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

SCRIPT = "/srv/export/tftp/config-x86_64.ipxe"
WITHOUT = f"cp {SCRIPT} {SCRIPT}.kept; sed -i '/nb-report/d' {SCRIPT}"
WITH = f"mv {SCRIPT}.kept {SCRIPT}"


def seconds(lab, firmware):
    started = time.monotonic()
    with lab.client(firmware) as client:
        client.booted(timeout=240)
    return time.monotonic() - started


def main():
    boots = int(sys.argv[1]) if sys.argv[1:] else 5
    with tempfile.TemporaryDirectory(prefix="netboot-bench.") as base, Lab() as lab:
        iso = make_iso(Path(base))
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        image = {
            "url": f"{lab.web(base).url}/{iso.path.name}",
            "checksum": {"sha256": iso.sha256},
        }
        pillar = {
            "images": {"ALT p11": image},
            "default_image": {"x86_64": "ALT p11"},
            "menu": {"timeout_s": 2},
        }
        assert SaltCall(server, {"netboot": pillar}).apply(server).failed == {}
        print(f"{'firmware':12} {'with':>6} {'without':>8} {'ratio':>6}  s, medians of {boots}")
        for firmware in ("bios", "efi-x86_64"):
            took = {"with": [], "without": []}
            for _ in range(boots):
                took["with"].append(seconds(lab, firmware))
                server.run(["sh", "-c", WITHOUT])
                took["without"].append(seconds(lab, firmware))
                server.run(["sh", "-c", WITH])
            reported, plain = (statistics.median(took[how]) for how in ("with", "without"))
            print(f"{firmware:12} {reported:6.2f} {plain:8.2f} {reported / plain:6.3f}", flush=True)


if __name__ == "__main__":
    main()
