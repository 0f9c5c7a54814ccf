"""What differs between the generations of ALT's media: one row each.

To add one, add a row to GENERATIONS; a dialect is a shell file beside this one, read by stage1.sh.
Sources: altlinux/mkimage-profiles (features.in/grub, live-install, initrd-bootchain, build-distro),
osinfo-db (data/os/altlinux.org) and the altboot manual.
"""

import re
import textwrap
from dataclasses import dataclass

GRUB_CFG = """\
set timeout=60
if [ ! "$lang" ]; then lang=ru_RU; fi
set default=live
probe -u $root --set=ROOT_UUID
"""

ISOLINUX_CFG = """\
default live
prompt 0
timeout 600
"""

# The kernel and initrd carry $KFLAVOUR on real media, empty for the default kernel.
GRUB_ENTRY = """
menuentry {title} --id '{id}' {{
  echo $"Kernel vmlinuz$KFLAVOUR ..."
  linux {kernel}$KFLAVOUR {arguments} lang=$lang
  echo $"Initial RAM disk ..."
  initrd {initrd}
}}
"""

ISOLINUX_ENTRY = """
label {id}
  menu label {plain_title}
  kernel {kernel}
  append initrd={plain_initrd} {arguments}
"""


@dataclass(frozen=True)
class Entry:
    """One way to start the medium.

    title: in grub's form, where ``$"..."`` is translated; ``{system}`` is the system's name.
    flags: kernel arguments before the first stage's; arguments: those after ``stagename=``.
    """

    id: str
    title: str
    stage: str
    flags: str
    arguments: str


@dataclass(frozen=True)
class Generation:
    """One generation of ALT media.

    first_stage: what a command line needs before ``=method:...`` on this generation's media.
    local: the method by which the medium starts itself.
    entries: its menu; what an entry's arguments start is put into its stage.
    date: the volume's creation date, which is also the medium's UUID, ``YYYY-MM-DD-hh-mm-ss-00``.
    dot_disk: files of ``/.disk`` beyond those that every medium has, by name.
    """

    name: str
    release: str
    dialect: str
    kernel: str
    initrd: str
    stages: tuple[str, ...]
    first_stage: str
    local: str
    entries: tuple[Entry, ...]
    date: str
    volume_id: str
    publisher: str
    dot_disk: dict[str, str]

    def started_in(self, stage):
        """Paths of what the menu's command lines start in this stage, besides /sbin/init."""
        for entry in self.entries:
            for argument in entry.arguments.split() if entry.stage == stage else ():
                name, _, value = argument.partition("=")
                if name == "systemd.unit":
                    yield f"usr/lib/systemd/system/{value}"
                if name == "init":
                    yield value.removeprefix("/")

    def _local_entries(self, edition, stage_sizes):
        for entry in self.entries:
            words = (
                entry.flags,
                f"{self.first_stage}={self.local}",
                f"stagename={entry.stage}",
                entry.arguments,
                f"ramdisk_size={stage_sizes[entry.stage] // 1024 + 1} lowmem quiet splash",
            )
            title = entry.title.format(system=f"ALT {self.release} {edition}")
            yield entry.id, title, " ".join(filter(None, words))

    def _network_entries(self):
        for method in ("nfs", "ftp", "http", "cifs"):
            for entry in self.entries:
                words = (
                    f"{self.first_stage}=method:{method} ip=dhcp stagename={entry.stage}",
                    entry.arguments,
                    "lowmem" if method in ("nfs", "cifs") else "",
                    "console=tty0 console=ttyS0,115200n8",
                )
                title = f'$"{entry.id} by {method.upper()}"'
                yield f"{entry.id}-{method}", title, " ".join(filter(None, words))

    def grub_cfg(self, edition, stage_sizes):
        """Text of /boot/grub/grub.cfg.

        edition: the name in titles. stage_sizes: bytes by stage.
        """
        network = "".join(self._menu(GRUB_ENTRY, self._network_entries()))
        return (
            GRUB_CFG
            + "".join(self._menu(GRUB_ENTRY, self._local_entries(edition, stage_sizes)))
            + "\nsubmenu $\"Network\" --hotkey 'f4' --id 'network' {"
            + textwrap.indent(network, "\t")
            + "}\n"
        )

    def isolinux_cfg(self, edition, stage_sizes):
        """Text of /syslinux/isolinux.cfg, which ALT's media have even when grub boots them."""
        entries = self._menu(ISOLINUX_ENTRY, self._local_entries(edition, stage_sizes))
        return ISOLINUX_CFG + "".join(entries).replace("$ROOT_UUID", self.date)

    def _menu(self, template, entries):
        stem, dot, suffix = self.initrd.partition(".")
        for entry_id, title, arguments in entries:
            yield template.format(
                id=entry_id,
                title=title,
                plain_title=re.sub(r"""\$"|["']| --.*""", "", title),
                kernel=self.kernel,
                initrd=f"{stem}$KFLAVOUR{dot}{suffix}",
                plain_initrd=self.initrd,
                arguments=arguments,
            )


GENERATIONS = {
    "p11": Generation(
        name="p11",
        release="p11",
        dialect="altboot",
        kernel="/boot/vmlinuz",
        initrd="/boot/initrd.img",
        stages=("live",),
        first_stage="root=bootchain bootchain=fg,altboot automatic",
        local="method:disk,uuid:$ROOT_UUID",
        entries=(
            Entry(
                "linux",
                """$"Install "'{system}' --hotkey 'i'""",
                "live",
                "fastboot live",
                "systemd.unit=install2.target",
            ),
            Entry("live", '$"Live system"', "live", "fastboot live", ""),
            Entry(
                "rescue",
                '$"Rescue system"',
                "live",
                "fastboot live",
                "systemd.unit=live-rescue.target",
            ),
        ),
        date="2025-06-02-11-22-33-00",
        volume_id="ALT {release} {edition}/{arch}",
        publisher="ALT LINUX TEAM",
        dot_disk={
            "initrd.mk": "FEATURES += add-modules compress cleanup rdshell\n"
            "FEATURES += bootchain-localdev bootchain-liverw bootchain-waitdev\n"
            "FEATURES += bootchain-getimage bootchain-nfs bootchain-cifs\n",
            "bootchain": "BC_FGVT_ACTIVATE=7\n"
            "BC_LOGFILE=/var/log/chaind.log\n"
            "OEM_CDROOT=/image\n"
            "OEM_DEFAULT_STAGE2=altinst\n"
            "OEM_URL_NETINST=/pub/netinst/current\n"
            "OEM_SRV_NETINST=\n",
        },
    ),
}
