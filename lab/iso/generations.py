"""What differs between the generations of ALT's media: one row each.

To add one, add a row to GENERATIONS; a dialect is a shell file beside this one, read by stage1.sh.
Sources: altlinux/mkimage-profiles, whose history gives the date of each change of menus and .disk
(features.in/grub, syslinux, live-install, initrd-propagator, initrd-bootchain, build-distro),
osinfo-db (data/os/altlinux.org) for paths and volume ids, and the altboot manual.
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
  linux{suffix} {kernel}$KFLAVOUR {arguments} lang=$lang
  echo $"Initial RAM disk ..."
  initrd{suffix} {initrd}
}}
"""

ISOLINUX_ENTRY = """
label {id}
  menu label {plain_title}
  kernel {plain_kernel}
  append initrd={plain_initrd} {arguments}
"""

GRUB, OLD_GRUB = "boot/grub/grub.cfg", "EFI/BOOT/grub.cfg"
# On x86 also where grub starts the medium, because alterator-netinst reads it.
ISOLINUX = "syslinux/isolinux.cfg"
X86 = ("x86_64", "i586")


@dataclass(frozen=True)
class Boot:
    """Where a medium has its kernel and initrd, and the menus that name them."""

    kernel: str
    initrd: str
    menus: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One way to start the medium.

    title: in grub's form, where ``$"..."`` is translated; ``{product}`` is the system's name.
    flags: kernel arguments before the first stage's; arguments: those after ``stagename=``.
    """

    id: str
    title: str
    stage: str
    flags: str
    arguments: str = ""


@dataclass(frozen=True)
class Generation:
    """One generation of ALT media.

    product: the system's name, with ``{edition}`` or without. version, branch: what the medium
    itself tells of them, empty where it does not.
    volume_id: of the volume before it is cut at 32 characters, from product and arch.
    first_stage: version of the initramfs: propagator's is a date, altboot's the n of 0.1.5-alt<n>.
    automatic: what a command line needs before ``=method:...``; local: the method by which the
    medium starts itself.
    entries: its menu; what an entry's arguments start is put into its stage.
    boot: by arch, ``*`` for the others; copies: where kernel and initrd lie once more on x86.
    date: the volume's creation date, which is also the medium's UUID, ``YYYY-MM-DD-hh-mm-ss-00``.
    dot_disk: files of ``/.disk`` by name.
    http_iso: whether a user may rely on it that the first stage takes a whole ISO over HTTP.
    names_altinst: whether the installer's command line says ``stagename=altinst``, its default.
    grub_suffix: what follows ``linux`` and ``initrd`` in grub.cfg.
    network_menu: whether the medium offers to load a stage over the network.
    """

    name: str
    product: str
    version: str
    branch: str
    volume_id: str
    publisher: str
    date: str
    arches: tuple[str, ...]
    boot: dict[str, Boot]
    stages: tuple[str, ...]
    entries: tuple[Entry, ...]
    dialect: str
    first_stage: int
    automatic: str
    local: str
    http_iso: bool
    dot_disk: dict[str, str]
    copies: tuple[str, ...] = ()
    names_altinst: bool = True
    grub_suffix: str = ""
    network_menu: bool = True

    def boot_of(self, arch):
        """Boot of the medium for this architecture; the syslinux menus are there on x86 only."""
        boot = self.boot.get(arch) or self.boot["*"]
        menus = tuple(menu for menu in boot.menus if arch in X86 or menu != ISOLINUX)
        return Boot(boot.kernel, boot.initrd, menus)

    def started_in(self, stage):
        """Paths of what the menu's command lines start in this stage, besides /sbin/init."""
        for entry in self.entries:
            for argument in entry.arguments.split() if entry.stage == stage else ():
                name, _, value = argument.partition("=")
                if name == "systemd.unit":
                    yield f"usr/lib/systemd/system/{value}"
                if name == "init":
                    yield value.removeprefix("/")

    def menu(self, path, arch, product, stage_sizes):
        """Text of the boot menu at this path of the medium.

        product: the system's name. stage_sizes: bytes by stage.
        """
        local = tuple(self._local_entries(product, stage_sizes))
        if path == ISOLINUX:
            text = ISOLINUX_CFG + "".join(self._menu(ISOLINUX_ENTRY, arch, local))
            return text.replace("$ROOT_UUID", self.date)
        text = GRUB_CFG + "".join(self._menu(GRUB_ENTRY, arch, local))
        if self.network_menu:
            network = "".join(self._menu(GRUB_ENTRY, arch, self._network_entries()))
            text += (
                "\nsubmenu $\"Network\" --hotkey 'f4' --id 'network' {"
                + textwrap.indent(network, "\t")
                + "}\n"
            )
        return text

    def _local_entries(self, product, stage_sizes):
        for entry in self.entries:
            named = entry.stage != "altinst" or self.names_altinst
            words = (
                entry.flags,
                f"{self.automatic}={self.local.format(uuid=self.date)}",
                f"stagename={entry.stage}" if named else "",
                entry.arguments,
                f"ramdisk_size={stage_sizes[entry.stage] // 1024 + 1} lowmem quiet splash",
            )
            yield entry.id, entry.title.format(product=product), " ".join(filter(None, words))

    def _network_entries(self):
        for method in ("nfs", "ftp", "http", "cifs"):
            for entry in self.entries:
                words = (
                    f"{self.automatic}=method:{method} ip=dhcp stagename={entry.stage}",
                    entry.arguments,
                    "lowmem" if method in ("nfs", "cifs") else "",
                    "console=tty0 console=ttyS0,115200n8",
                )
                title = f'$"{entry.id} by {method.upper()}"'
                yield f"{entry.id}-{method}", title, " ".join(filter(None, words))

    def _menu(self, template, arch, entries):
        boot = self.boot_of(arch)
        stem, dot, suffix = boot.initrd.partition(".")
        for entry_id, title, arguments in entries:
            yield template.format(
                id=entry_id,
                title=title,
                plain_title=re.sub(r"""\$"|["']| --.*""", "", title),
                suffix=self.grub_suffix,
                kernel=f"/{boot.kernel}",
                initrd=f"/{stem}$KFLAVOUR{dot}{suffix}",
                # from the menu's own folder, as long as they were below it
                plain_kernel=f"/{boot.kernel}".removeprefix("/syslinux/"),
                plain_initrd=f"/{boot.initrd}".removeprefix("/syslinux/"),
                arguments=arguments,
            )


# Menus

INSTALL_TITLE = """$"Install "'{product}' --hotkey 'i'"""
ALTINST = Entry("linux", INSTALL_TITLE, "altinst", "fastboot")
LIVE = Entry("live", '$"Live system"', "live", "fastboot live")
RESCUE = Entry("rescue", '$"Rescue system"', "rescue", "fastboot live")
LIVE_RESCUE = Entry(
    "rescue", '$"Rescue system"', "live", "fastboot live", "systemd.unit=live-rescue.target"
)


def live_install(argument):
    """The installer in the live system, which this kernel argument starts."""
    return Entry("linux", INSTALL_TITLE, "live", "fastboot live", argument)


# Files of .disk: the word "build" since 2019-02, initrd.mk since 2023-03, cpe since 2023-05

DISK_2017 = {
    "info": "{title} {day}\n",
    "arch": "{arch}\n",
    "date": "{date}\n",
    "commit": "0123456789abcdef0123456789abcdef01234567\n",
}
DISK_2019 = {**DISK_2017, "info": "{title} build {day}\n"}
DISK_PROPAGATOR = {
    **DISK_2019,
    "initrd.mk": "FEATURES += add-modules compress cleanup\nFEATURES += propagator\n",
}
DISK_BOOTCHAIN = {
    **DISK_2019,
    "initrd.mk": "FEATURES += add-modules compress cleanup rdshell\n"
    "FEATURES += bootchain-localdev bootchain-liverw bootchain-waitdev\n"
    "FEATURES += bootchain-getimage bootchain-nfs bootchain-cifs\n",
    "bootchain": "BC_FGVT_ACTIVATE=7\n"
    "BC_LOGFILE=/var/log/chaind.log\n"
    "OEM_CDROOT=/image\n"
    "OEM_DEFAULT_STAGE2=altinst\n"
    "OEM_URL_NETINST=/pub/netinst/current\n"
    "OEM_SRV_NETINST=\n",
}

SYSLINUX_BOOT = {"*": Boot("syslinux/alt0/vmlinuz", "syslinux/alt0/full.cz", (ISOLINUX,))}
FULL_CZ_BOOT = {"*": Boot("boot/vmlinuz", "boot/full.cz", (GRUB, ISOLINUX))}
INITRD_IMG_BOOT = {"*": Boot("boot/vmlinuz", "boot/initrd.img", (GRUB, ISOLINUX))}

PROPAGATOR = "changedisk automatic"
ALTBOOT = "root=bootchain bootchain=fg,altboot automatic"
RELEASE, KIT = "BASEALT LTD", "ALT LINUX TEAM"

GENERATIONS = {
    row.name: row
    for row in (
        # ALT Workstation 8.2: neither its id nor .disk tells the version.
        Generation(
            name="p8",
            product="ALT Workstation",
            version="",
            branch="",
            volume_id="{product}",
            publisher=RELEASE,
            date="2018-03-05-10-20-30-00",
            arches=X86,
            boot=SYSLINUX_BOOT,
            stages=("altinst", "live"),
            entries=(ALTINST, LIVE),
            dialect="propagator",
            first_stage=20140419,
            automatic=PROPAGATOR,
            local="method:cdrom",
            http_iso=False,
            dot_disk=DISK_2017,
            names_altinst=False,
            network_menu=False,
        ),
        Generation(
            name="p9",
            product="ALT Workstation 9.1",
            version="9.1",
            branch="p9",
            volume_id="{product} {arch}",
            publisher=RELEASE,
            date="2020-07-20-10-20-30-00",
            arches=("x86_64", "i586", "aarch64"),
            boot={
                **SYSLINUX_BOOT,
                "aarch64": Boot("EFI/BOOT/vmlinuz", "EFI/BOOT/full.cz", (OLD_GRUB,)),
            },
            copies=("EFI/BOOT/vmlinuz", "EFI/BOOT/full.cz"),
            stages=("altinst", "live", "rescue"),
            entries=(ALTINST, LIVE, RESCUE),
            dialect="propagator",
            first_stage=20190829,
            automatic=PROPAGATOR,
            local="method:cdrom",
            http_iso=False,
            dot_disk=DISK_2019,
            names_altinst=False,
            network_menu=False,
        ),
        Generation(
            name="p9-server",
            product="ALT Server 9.2",
            version="9.2",
            branch="p9",
            volume_id="{product} {arch}",
            publisher=RELEASE,
            date="2021-10-28-10-20-30-00",
            arches=("x86_64", "aarch64"),
            boot=FULL_CZ_BOOT,
            stages=("altinst", "rescue"),
            entries=(ALTINST, RESCUE),
            dialect="propagator",
            first_stage=20190829,
            automatic=PROPAGATOR,
            local="method:cdrom",
            http_iso=False,
            dot_disk=DISK_2019,
            names_altinst=False,
            grub_suffix="$linux_suffix",
            network_menu=False,
        ),
        # Built after propagator learnt to load whole ISOs, but p9 kept its older propagator.
        Generation(
            name="p9-2022",
            product="ALT p9 {edition}",
            version="",
            branch="p9",
            volume_id="{product}/{arch}",
            publisher=KIT,
            date="2022-06-12-10-20-30-00",
            arches=X86,
            boot=SYSLINUX_BOOT,
            stages=("live",),
            entries=(LIVE,),
            dialect="propagator",
            first_stage=20190829,
            automatic=PROPAGATOR,
            local="method:cdrom",
            http_iso=False,
            dot_disk=DISK_2019,
            network_menu=False,
        ),
        # Before 2021-09-08: nothing goes without ramdisk_size=.
        Generation(
            name="p10-2021-08",
            product="ALT p10 {edition}",
            version="",
            branch="p10",
            volume_id="{product}/{arch}",
            publisher=KIT,
            date="2021-08-12-10-20-30-00",
            arches=("x86_64", "aarch64"),
            boot=FULL_CZ_BOOT,
            stages=("altinst", "live"),
            entries=(ALTINST, LIVE),
            dialect="propagator",
            first_stage=20210329,
            automatic=PROPAGATOR,
            local="method:cdrom,fuid:{uuid}",
            http_iso=False,
            dot_disk=DISK_2019,
            grub_suffix="$linux_suffix",
            network_menu=False,
        ),
        # From 2021-09-08 to 09-22: no ramdisk_size= needed, no whole ISO over HTTP yet.
        Generation(
            name="p10-2021-09",
            product="ALT p10 {edition}",
            version="",
            branch="p10",
            volume_id="{product}/{arch}",
            publisher=KIT,
            date="2021-09-12-10-20-30-00",
            arches=("x86_64", "aarch64"),
            boot=FULL_CZ_BOOT,
            stages=("altinst", "live"),
            entries=(ALTINST, LIVE),
            dialect="propagator",
            first_stage=20210908,
            automatic=PROPAGATOR,
            local="method:cdrom,fuid:{uuid}",
            http_iso=False,
            dot_disk=DISK_2019,
            grub_suffix="$linux_suffix",
            network_menu=False,
        ),
        Generation(
            name="p10.0",
            product="ALT Workstation 10.0",
            version="10.0",
            branch="p10",
            volume_id="{product} {arch}",
            publisher=RELEASE,
            date="2021-12-23-10-20-30-00",
            arches=("x86_64", "i586", "aarch64"),
            boot=FULL_CZ_BOOT,
            stages=("altinst", "live", "rescue"),
            entries=(ALTINST, LIVE, RESCUE),
            dialect="propagator",
            first_stage=20211007,
            automatic=PROPAGATOR,
            local="method:cdrom,fuid:{uuid}",
            http_iso=True,
            dot_disk=DISK_2019,
            grub_suffix="$linux_suffix",
        ),
        # Named initrd.img as altboot's, and still propagator.
        Generation(
            name="p10.1",
            product="ALT Workstation 10.1",
            version="10.1",
            branch="p10",
            volume_id="{product} {arch}",
            publisher=RELEASE,
            date="2022-10-05-10-20-30-00",
            arches=("x86_64", "i586", "aarch64"),
            boot=INITRD_IMG_BOOT,
            stages=("altinst", "live", "rescue"),
            entries=(ALTINST, LIVE, RESCUE),
            dialect="propagator",
            first_stage=20211007,
            automatic=PROPAGATOR,
            local="method:cdrom,fuid:{uuid}",
            http_iso=True,
            dot_disk=DISK_2019,
            grub_suffix="$linux_suffix",
        ),
        Generation(
            name="p10.4",
            product="ALT Education",
            version="10.4",
            branch="p10",
            volume_id="{product}",
            publisher=RELEASE,
            date="2024-11-05-10-20-30-00",
            arches=("x86_64", "i586", "aarch64"),
            boot=INITRD_IMG_BOOT,
            stages=("altinst", "live"),
            entries=(ALTINST, LIVE),
            dialect="propagator",
            first_stage=20231121,
            automatic=PROPAGATOR,
            local="method:cdrom,fuid:{uuid}",
            http_iso=True,
            dot_disk={**DISK_PROPAGATOR, "cpe": "cpe:/o:alt:education:10.4\n"},
        ),
        # altboot before 0.1.5-alt17 of 2023-07-10, which knows no type:iso.
        Generation(
            name="sisyphus-2022",
            product="ALT regular-{edition}",
            version="",
            branch="sisyphus",
            volume_id="{product}/{arch}",
            publisher=KIT,
            date="2022-12-07-10-20-30-00",
            arches=("x86_64", "i586", "aarch64"),
            boot=INITRD_IMG_BOOT,
            stages=("live",),
            entries=(live_install("init=/usr/sbin/install2-init"), LIVE),
            dialect="altboot",
            first_stage=16,
            automatic=ALTBOOT,
            local="method:cdrom,uuid:{uuid}",
            http_iso=False,
            dot_disk=DISK_2019,
        ),
        Generation(
            name="sisyphus",
            product="ALT regular-{edition}",
            version="20250702",
            branch="sisyphus",
            volume_id="{product}/{arch}",
            publisher=KIT,
            date="2025-07-02-10-20-30-00",
            arches=("x86_64", "i586", "aarch64", "riscv64", "loongarch64"),
            boot=INITRD_IMG_BOOT,
            stages=("live",),
            entries=(live_install("systemd.unit=install2.target"), LIVE, LIVE_RESCUE),
            dialect="altboot",
            first_stage=27,
            automatic=ALTBOOT,
            local="method:disk,uuid:$ROOT_UUID",
            http_iso=True,
            dot_disk={**DISK_BOOTCHAIN, "cpe": "cpe:/o:alt:sisyphus:20250702\n"},
        ),
        # The installer is started by init= until 2025.
        Generation(
            name="p11-2024",
            product="ALT p11 {edition}",
            version="p11",
            branch="p11",
            volume_id="{product}/{arch}",
            publisher=KIT,
            date="2024-05-29-10-20-30-00",
            arches=("x86_64", "i586", "aarch64"),
            boot=INITRD_IMG_BOOT,
            stages=("live",),
            entries=(live_install("init=/usr/sbin/install2-init"), LIVE, LIVE_RESCUE),
            dialect="altboot",
            first_stage=22,
            automatic=ALTBOOT,
            local="method:disk,uuid:{uuid}",
            http_iso=True,
            dot_disk={**DISK_BOOTCHAIN, "cpe": "cpe:/o:alt:starterkit:p11\n"},
        ),
        Generation(
            name="p11",
            product="ALT p11 {edition}",
            version="p11",
            branch="p11",
            volume_id="{product}/{arch}",
            publisher=KIT,
            date="2025-06-02-11-22-33-00",
            arches=("x86_64", "i586", "aarch64", "riscv64", "loongarch64"),
            boot=INITRD_IMG_BOOT,
            stages=("live",),
            entries=(live_install("systemd.unit=install2.target"), LIVE, LIVE_RESCUE),
            dialect="altboot",
            first_stage=24,
            automatic=ALTBOOT,
            local="method:disk,uuid:$ROOT_UUID",
            http_iso=True,
            dot_disk={**DISK_BOOTCHAIN, "cpe": "cpe:/o:alt:starterkit:p11\n"},
        ),
    )
}
