"""The demo: from a pillar to firmware that boots, on a virtual LAN; each step timed in a table."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

from . import Lab, LabError
from .client import FIRMWARE
from .host import require, say
from .iso import make_iso
from .salt import CHECKOUT, SaltSsh

PACKAGES = ["dnsmasq-base", "ipxe", "nginx"]
# What servers have from the start where installing it is not the point.
INSTALLED = [*PACKAGES, "iproute2", "logrotate"]
# Of guests, whose emulated processor takes minutes to unpack packages.
IN_GUEST = [*PACKAGES, "nfs-kernel-server", "samba", "vsftpd"]
TITLE = "netboot-alt demo"
BOOTED = ("efi-x86_64", "bios")
# What the lab would install when it comes to it, so that this is a step of its own in the table.
PROGRAMS = ["apt-ftparchive", "busybox", "cpio", "ip", "mksquashfs", "mmdebstrap", "nsenter"]
PROGRAMS += ["ssh-keygen", "systemd-nspawn", "xorriso"]
RESULTS = CHECKOUT / ".cache" / "demo"


class Steps:
    """The steps so far: what, result, seconds."""

    def __init__(self):
        self.rows = []

    @contextlib.contextmanager
    def step(self, what):
        """Time a block and say how it ended; the block may append to the list it is given."""
        say(f"{what} ...")
        started, notes = time.monotonic(), []
        try:
            yield notes
        except BaseException as err:
            self.rows.append((what, f"FAILED ({type(err).__name__})", time.monotonic() - started))
            raise
        self.rows.append((what, ", ".join(notes) or "ok", time.monotonic() - started))

    def table(self):
        """All steps as lines of text."""
        rows = [("step", "result", "seconds"), *((a, b, f"{c:.1f}") for a, b, c in self.rows)]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            f"{what:{widths[0]}}  {result:{widths[1]}}  {seconds:>{widths[2]}}"
            for what, result, seconds in rows
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(lines)


def demo():
    """Run all steps, print the table; returns the exit status."""
    steps = Steps()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if "NETBOOT_STARTED" in os.environ:  # the launcher set out then
        took = time.time() - float(os.environ["NETBOOT_STARTED"])
        steps.rows.append(("Python environment .venv", "ok", took))
    try:
        _run(steps)
    except KeyboardInterrupt:
        print(f"\n{steps.table()}\n\nInterrupted. Logs: {RESULTS}")
        return 1
    except (LabError, OSError, subprocess.SubprocessError) as err:
        notes = "".join(getattr(err, "__notes__", []))
        print(f"\n{steps.table()}\n\n{err}\n{notes}\nLogs: {RESULTS}")
        return 1
    print(
        f"\n{steps.table()}\n\n"
        f"Pictures of the menu: {RESULTS / 'menu-*.png'}\n"
        f"Logs of the server, the client's serial port and Salt: {RESULTS}\n"
        "Next: on your server, ./netboot apply test=True makes pillar/netboot.sls; see README.md."
    )
    return 0


def _run(steps):
    with steps.step("programs that the lab needs"):
        firmware = [FIRMWARE[kind] for kind in BOOTED]
        files = {file for one in firmware for file in (one.program, one.rom, one.code) if file}
        require(*PROGRAMS, *sorted(files))
    with steps.step("ISO in ALT p11's layout") as notes:
        iso = make_iso(RESULTS / "iso", "p11")
        notes.append(f"{iso.size // 2**20} MiB")
    with contextlib.ExitStack() as stack:
        with steps.step("virtual LAN and its router") as notes:
            lab = stack.enter_context(Lab(logs=RESULTS))
            notes.append(lab.network)
        with steps.step("bare Debian machine netboot1") as notes:
            server = lab.server("netboot1", packages=PACKAGES)
            notes.append(server.address)
        web = lab.web(iso.path.parent)
        pillar = {
            "netboot": {
                "images": {
                    "ALT p11 demo": {
                        "url": f"{web.url}/{iso.path.name}",
                        "checksum": {"sha256": iso.sha256},
                    }
                },
                "default_image": {"x86_64": "ALT p11 demo"},
                "menu": {"title": TITLE, "timeout_s": 5},
                "probe": True,
            }
        }
        salt = SaltSsh(lab, [server], pillar)
        with steps.step("state.apply over salt-ssh") as notes:
            notes.append(_apply(salt, server, RESULTS / "apply.log"))
        with steps.step("state.apply once more") as notes:
            notes.append(_apply(salt, server, RESULTS / "apply-again.log", unchanged=True))
        for kind in BOOTED:
            _boot(steps, lab, iso, kind)


def _boot(steps, lab, iso, kind):
    with lab.client(kind) as client:
        with steps.step(f"{kind}: power on to menu") as notes:
            client.wait_for(TITLE, timeout=180)
            time.sleep(1)  # the rest of the menu is drawn after its title
            client.screenshot(RESULTS / f"menu-{kind}.png")
            notes.append(f"ok, see menu-{kind}.png")
        with steps.step(f"{kind}: menu to running ALT") as notes:
            marker = client.booted(timeout=180)
            if marker["digest"] != iso.stages[marker["stage"]][1]:
                raise LabError(f"The client got other bytes than the ISO has: {marker}")
            received = client.received_bytes() // 2**20
            notes.append(f"{marker['method']} {marker['form']}, {received} MiB, digest right")


def _apply(salt, server, log, unchanged=False):
    applied = salt.apply(server)
    Path(log).write_text(applied.text)
    if applied.failed or applied.status:
        comments = "\n".join(f"{name}: {one['comment']}" for name, one in applied.failed.items())
        raise LabError(f"state.apply failed, see {log}:\n{comments}")
    if unchanged and applied.changed:
        raise LabError(f"A second apply changed {', '.join(applied.changed)}, see {log}.")
    return f"{len(applied.states)} states, {len(applied.changed)} changed"
