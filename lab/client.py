"""A client: a QEMU machine with real firmware that boots over the lab's network."""

import json
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import network
from .host import LabError, require, tail
from .roots import loaded, newer_qemu


@dataclass(frozen=True)
class Firmware:
    """How QEMU becomes a machine with this firmware.

    machine: its words for QEMU; rom: the network card's boot ROM, None where the firmware has a
    driver of its own; code, variables: the two flash chips of UEFI (QEMU manual: "pflash"), None
    for a BIOS; U-Boot has no variables; newer: whether QEMU and these are those of
    roots.newer_qemu(); kind: as netboot:firmware names it, None where that is its key.
    """

    program: str
    machine: tuple[str, ...]
    rom: str | None = None
    code: str | None = None
    variables: str | None = None
    newer: bool = False
    kind: str | None = None


# UEFI of Debian 13, which QEMU 7.2 does not start. Its network wants random numbers
# (tianocore/edk2, issue 9530), for which x86_64 has an instruction.
NEWER_MACHINE = (
    *("-machine", "virt", "-device", "virtio-rng-pci", "-device", "bochs-display"),
    *("-device", "qemu-xhci", "-device", "usb-kbd"),
)

FIRMWARE = {
    # Without "graphics", SeaBIOS shows its screen, and so iPXE's, on the serial port too.
    # The ROM is the card's default one: QEMU fits only that one to the card (pci_patch_ids).
    "bios": Firmware(
        "qemu-system-x86_64",
        ("-machine", "pc,graphics=off", "-vga", "std"),
        rom="/usr/lib/ipxe/qemu/efi-virtio.rom",
    ),
    "efi-x86_64": Firmware(
        "qemu-system-x86_64",
        ("-machine", "q35", "-vga", "std"),
        code="/usr/share/OVMF/OVMF_CODE_4M.fd",
        variables="/usr/share/OVMF/OVMF_VARS_4M.fd",
    ),
    # With the keys of Microsoft, as PCs are sold.
    "efi-secure": Firmware(
        "qemu-system-x86_64",
        (
            *("-machine", "q35,smm=on", "-vga", "std"),
            *("-global", "driver=cfi.pflash01,property=secure,value=on"),
        ),
        code="/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
        variables="/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
        kind="efi-x86_64",
    ),
    "efi-secure-aarch64": Firmware(
        "qemu-system-aarch64",
        (
            *("-machine", "virt", "-cpu", "cortex-a57", "-device", "ramfb"),
            *("-device", "qemu-xhci", "-device", "usb-kbd"),
        ),
        code="/usr/share/AAVMF/AAVMF_CODE.ms.fd",
        variables="/usr/share/AAVMF/AAVMF_VARS.ms.fd",
        kind="efi-aarch64",
    ),
    # The processor has no long mode, so the menu is that of 32-bit UEFI for sure.
    "efi-i386": Firmware(
        "qemu-system-x86_64",
        ("-machine", "q35,smm=on", "-cpu", "coreduo", "-vga", "std"),
        code="/usr/share/OVMF/OVMF32_CODE_4M.secboot.fd",
        variables="/usr/share/OVMF/OVMF32_VARS_4M.fd",
    ),
    "efi-aarch64": Firmware(
        "qemu-system-aarch64",
        (
            *("-machine", "virt", "-cpu", "cortex-a57", "-device", "ramfb"),
            *("-device", "qemu-xhci", "-device", "usb-kbd"),
        ),
        code="/usr/share/AAVMF/AAVMF_CODE.fd",
        variables="/usr/share/AAVMF/AAVMF_VARS.fd",
    ),
    # Starts EFI programs. It asks the server that gives it an address, no proxy beside that.
    "u-boot-aarch64": Firmware(
        "qemu-system-aarch64",
        ("-machine", "virt", "-cpu", "cortex-a57"),
        code="/usr/lib/u-boot/qemu_arm64/u-boot.bin",
        kind="efi-aarch64",
    ),
    "efi-riscv64": Firmware(
        "qemu-system-riscv64",
        NEWER_MACHINE,
        code="/usr/share/qemu-efi-riscv64/RISCV_VIRT_CODE.fd",
        variables="/usr/share/qemu-efi-riscv64/RISCV_VIRT_VARS.fd",
        newer=True,
    ),
    "efi-loongarch64": Firmware(
        "qemu-system-loongarch64",
        NEWER_MACHINE,
        code="/usr/share/qemu-efi-loongarch64/QEMU_EFI.fd",
        variables="/usr/share/qemu-efi-loongarch64/QEMU_VARS.fd",
        newer=True,
    ),
}

#: More words for QEMU: UEFI boots over HTTP, as its way over PXE is switched off (EDK2,
#: OvmfPkg/RUNTIME_CONFIG.md).
HTTP_BOOT = tuple(
    word
    for version in (4, 6)
    for word in ("-fw_cfg", f"name=opt/org.tianocore/IPv{version}PXESupport,string=no")
)

#: QEMU's name of the network card that a client has unless it is told another.
CARD = "virtio-net-pci"

#: What Client.note() has seen in this process, for tables.
BOOTS = []

ESCAPES = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]")


class Client:
    """A running client; made by Lab.client(). Leaving its `with` block switches it off.

    mac, address: its network card's MAC, and the IPv4 address that the router gives to a MAC of the
    lab's own.
    """

    def __init__(
        self,
        lab,
        number,
        firmware,
        memory_mib,
        kernel,
        initrd,
        cmdline,
        extra,
        mac=None,
        card=CARD,
        variables=None,
    ):
        if firmware not in FIRMWARE:
            raise LabError(f"No firmware {firmware!r}; there are {', '.join(FIRMWARE)}.")
        if number >= len(network.CLIENTS):
            raise LabError(f"One lab has addresses for {len(network.CLIENTS)} clients only.")
        self.name = f"client{number}"
        self.mac = mac or network.client_mac(lab.number, number)
        self.address = f"{lab.address.rpartition('.')[0]}.{network.CLIENTS[number]}"
        self.serial_log = lab.logs / f"{self.name}-{firmware}-serial.log"
        self._log = lab.logs / f"{self.name}-{firmware}-qemu.log"
        self._lab, self._tap = lab, f"tap{number}"
        self._firmware, self._started, self._card = firmware, time.monotonic(), card
        self._variables = variables
        self._monitor = lab.directory / f"{self.name}.qmp"
        self.serial_log.write_bytes(b"")  # of a boot before, which would be taken for this one's
        network.add_tap(lab.name, self._tap)
        argv = self._argv(FIRMWARE[firmware], memory_mib, kernel, initrd, cmdline)
        with self._log.open("w") as output:
            self._process = lab.popen([*argv, *extra], stdout=output, stderr=output)
        network.wait_until(self._monitor.exists, self._process, self._log, 10, "QEMU")

    def _argv(self, firmware, memory_mib, kernel, initrd, cmdline):
        program, within = [firmware.program], ""
        if firmware.newer:
            within = newer_qemu()
            program = [*loaded(within, firmware.program), "-L", f"{within}/usr/share/qemu"]
        else:
            require(firmware.program, *filter(None, [firmware.rom, firmware.code]))
        argv = [
            # KVM is not used: it exists but hangs on some machines, and the lab must be the same
            # everywhere.
            *program,
            *firmware.machine,
            "-accel",
            "tcg",
            "-m",
            str(memory_mib),
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
            "-serial",
            f"file:{self.serial_log}",
            "-qmp",
            f"unix:{self._monitor},server=on,wait=off",
            "-netdev",
            f"tap,id=lan,ifname={self._tap},script=no,downscript=no",
            "-device",
            f"{self._card},netdev=lan,mac={self.mac}"
            # First, however many disks there are. Newer UEFI would look at nothing else, not even
            # at what gives random numbers; without disks it takes the card by itself.
            + ("" if firmware.newer else ",bootindex=1")
            # UEFI has a driver of its own for this card alone.
            + ("" if firmware.rom or self._card != CARD else ",romfile="),
        ]
        if kernel:
            argv += ["-kernel", str(kernel)]
            argv += ["-initrd", str(initrd)] if initrd else []
            argv += ["-append", cmdline] if cmdline else []
        elif firmware.code and not firmware.variables:
            argv += ["-bios", firmware.code]
        elif firmware.code:
            variables = self._lab.directory / f"{self.name}.vars"
            shutil.copyfile(self._variables or f"{within}{firmware.variables}", variables)
            argv += [
                "-drive",
                f"if=pflash,format=raw,readonly=on,file={within}{firmware.code}",
                "-drive",
                f"if=pflash,format=raw,file={variables}",
            ]
        else:
            argv += ["-boot", "n"]
        return argv

    def wait_for(self, pattern, timeout):
        """Wait until the regular expression `pattern` is in the serial log; return its match.

        Colours and cursor moves are taken out first. Raises LabError with the log's name and end
        when QEMU ends or `timeout` seconds pass.
        """
        network.wait_until(
            lambda: self._search(pattern),
            self._process,
            self.serial_log,
            timeout,
            f"{pattern!r} of {self.name}",
        )
        return self._search(pattern)

    def booted(self, timeout):
        """Wait until a test ISO's first stage says how it ended; return what it says as a dict.

        Among its keys are digest (SHA-256 of the stage that the client got), method, form, stage,
        variant, seconds (since the kernel started), lockdown (the kernel's, with Secure Boot) and
        ipxe (its version). It is noted for tables. Raises LabError when the first stage
        refuses to go on, or says nothing within `timeout` seconds.
        """
        match = self.wait_for(r"NETBOOT-ALT-(MARKER|REFUSED) (.*)\n", timeout)
        if match[1] == "REFUSED":
            raise LabError(f"{self.name} did not boot: {match[2].strip()}, see {self.serial_log}.")
        return self.note(dict(word.split("=", 1) for word in match[2].split()))

    def note(self, marker):
        """Put what was seen so far into BOOTS: firmware, marker, seconds, bytes received.

        marker: a dict, as booted() returns it. Returns it with the version of the last iPXE.
        """
        versions = re.findall(r"iPXE (\S+?) -- Open", self._text())
        marker["ipxe"] = versions[-1] if versions else ""
        seconds = time.monotonic() - self._started
        BOOTS.append((self._firmware, marker, seconds, self.received_bytes()))
        return marker

    def received_bytes(self):
        """Bytes that came over its cable so far, whatever the protocol."""
        (link,) = json.loads(
            network.ip("-n", self._lab.name, "-s", "-j", "link", "show", self._tap)
        )
        return link["stats64"]["tx"]["bytes"]

    def _search(self, pattern):
        return re.search(pattern, self._text())

    def _text(self):
        return ESCAPES.sub("", self.serial_log.read_text(errors="replace"))

    def wait(self, timeout):
        """Wait until the client has switched itself off or rebooted, at most `timeout` seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(
                f"{self.name} still runs after {timeout} s, see {self.serial_log}:\n"
                f"{tail(self.serial_log)}"
            ) from None

    def screenshot(self, path):
        """Write what is on the screen to `path`, as PNG."""
        self._command("screendump", filename=str(Path(path).resolve()), format="png")
        return Path(path)

    def press(self, *keys):
        """Press keys one after another; each a QEMU key name, or several joined: "ctrl-alt-f2".

        The next one waits until the screen shows something new, for 2 s at most: the keyboard holds
        16 bytes, which are four arrows, and drops what a busy machine does not take in time.
        """
        for key in keys:
            before = self.serial_log.stat().st_size
            together = [{"type": "qcode", "data": name} for name in key.split("-")]
            self._command("send-key", keys=together)
            end = time.monotonic() + 2
            while self.serial_log.stat().st_size == before and time.monotonic() < end:
                time.sleep(0.05)

    def _command(self, name, **arguments):
        """Run a command of QEMU's monitor (QEMU manual: "QMP Reference Manual")."""
        with socket.socket(socket.AF_UNIX) as monitor, monitor.makefile("rw") as stream:
            monitor.settimeout(30)
            monitor.connect(str(self._monitor))
            stream.readline()  # the greeting
            for command in (
                {"execute": "qmp_capabilities"},
                {"execute": name, "arguments": arguments},
            ):
                stream.write(json.dumps(command) + "\n")
                stream.flush()
                while "event" in (answer := json.loads(stream.readline())):
                    pass
                if "error" in answer:
                    raise LabError(f"QEMU refuses {command}: {answer['error']['desc']}.")

    def close(self):
        """Switch it off and take its cable away."""
        self._process.kill()
        self._process.wait()
        network.ip("-n", self._lab.name, "link", "delete", self._tap)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
