"""alt_iso_facts by tables: what an image of each generation has, and what is to be told of it."""

import pytest

import iso_facts

BOOTCHAIN = "root=bootchain bootchain=fg,altboot automatic=method:disk,uuid:$ROOT_UUID"
PROPAGATOR = "changedisk automatic=method:disk,uuid:$ROOT_UUID"
SYSTEMD_INSTALL = "systemd.unit=install2.target"
LIVE_RESCUE = "systemd.unit=live-rescue.target"
MIB = 1024 * 1024


def grub(*items, kernel="/boot/vmlinuz$KFLAVOUR", initrd="/boot/initrd$KFLAVOUR.img", word="linux"):
    """Return a grub.cfg with an item for each list of arguments."""
    lines = ["set timeout=60", "menuentry 'memtest' {", "  linux16 /boot/memtest", "}"]
    for arguments in items:
        lines += ["menuentry 'x' --id 'x' {", f"  {word} {kernel} {arguments} lang=$lang"]
        lines += [f"  {word.replace('linux', 'initrd')} {initrd}", "}"]
    return "\n".join(lines)


def isolinux(*items, kernel="alt0/vmlinuz", initrd="alt0/full.cz"):
    lines = ["default linux"]
    for arguments in items:
        lines += ["label x", "  menu label ^X", f"  kernel {kernel}"]
        lines += [f"  append initrd={initrd} {arguments}"]
    return "\n".join([*lines, "label memtest", "  kernel memtest"])


def e2k(*items, kernel="/boot/image.0", initrd="/boot/initrd.img"):
    lines = ["default=install", "timeout=3"]
    for arguments in items:
        lines += ["label=x", "    partition=0", f"    image={kernel}"]
        lines += [f"    cmdline=console=ttyS0,115200 {arguments}", f"    initrd={initrd}"]
    return "\n".join(lines)


def image(volume_id, *files, texts=None, date="2024-06-01", links=(), file_name=""):
    """
    Return the arguments of derive.

    files: paths; a stage's size in MiB may follow its name after a colon.
    """
    entries = []
    for path in (*files, *(texts or {})):
        path, _, mib = path.partition(":")
        entries.append({"path": path, "type": "file", "size": int(mib or 1) * MIB, "target": ""})
        entries[-1]["extents"] = [[0, entries[-1]["size"]]]
    for path, target in dict(links).items():
        entries.append({"path": path, "type": "link", "size": 1, "target": target, "extents": []})
    for directory in {path.split("/")[0] for path in files if "/" in path}:
        entries.append({"path": directory, "type": "dir", "size": 0, "target": "", "extents": []})
    volume = {"volume_id": volume_id, "uuid": f"{date}-10-20-30-00" if date else ""}
    return volume, entries, texts or {}, file_name


def stage(name, argument=""):
    return {"stage": name, "argument": argument}


BOOT = ("boot/vmlinuz", "boot/initrd.img")

# name: (image, facts that must be so); what is not named is not looked at
CASES = {
    "p11 workstation": (
        image(
            "ALT Workstation 11.1 x86_64",
            *BOOT,
            "live:1645",
            "ALTLinux/base/release",
            "EFI/BOOT/BOOTX64.EFI",
            "EFI/BOOT/grubx64.efi",
            texts={
                ".disk/info": "ALT Workstation 11.1 x86_64 build 2025-07-01\n",
                ".disk/arch": "x86_64\n",
                ".disk/cpe": "cpe:/o:alt:workstation:11.1\n",
                ".disk/initrd.mk": "FEATURES += bootchain-nfs\n",
                "EFI/BOOT/grub.cfg": "source $prefix/grub.cfg\n",
                "boot/grub/grub.cfg": grub(
                    f"fastboot live {BOOTCHAIN} stagename=live {SYSTEMD_INSTALL} lowmem quiet",
                    f"fastboot live {BOOTCHAIN} stagename=live ramdisk_size=1685197 lowmem",
                    f"fastboot live {BOOTCHAIN} stagename=live {LIVE_RESCUE} nosplash",
                ),
            },
        ),
        {
            "arch": "x86_64",
            "product": "ALT Workstation 11.1",
            "version": "11.1",
            "branch": "p11",
            "volume_id": "ALT Workstation 11.1 x86_64",
            "uuid": "2024-06-01-10-20-30-00",
            "build_date": "2025-07-01",
            "dialect": "altboot",
            "dialect_source": "boot/grub/grub.cfg",
            "kernel": "boot/vmlinuz",
            "initrd": "boot/initrd.img",
            "boot_source": "boot/grub/grub.cfg",
            "flavours": {},
            "stages": {
                "live": {"path": "live", "size": 1645 * MIB, "ramdisk_size": 1645 * 1024 + 1}
            },
            "livecd": stage("live"),
            "installer": stage("live", SYSTEMD_INSTALL),
            "rescue": stage("live", LIVE_RESCUE),
            "http_iso": True,
            "efi_loaders": ["EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/grubx64.efi"],
            "repository": True,
            "missing": {},
        },
    ),
    "p11 server: its live is the installer only": (
        image(
            "ALT Server 11.0 x86_64",
            *BOOT,
            "live",
            texts={
                "boot/grub/grub.cfg": grub(
                    f"{BOOTCHAIN} stagename=live init=/usr/sbin/install2-init",
                    "root=bootchain bootchain=fg,altboot automatic=method:nfs stagename=live",
                )
            },
        ),
        {
            "livecd": None,
            "installer": stage("live", "init=/usr/sbin/install2-init"),
            "rescue": None,
            "repository": False,
            "missing": {},
        },
    ),
    "p11 kit, sysvinit, aarch64": (
        image(
            "ALT p11 jeos-sysv/aarch64",
            *BOOT,
            "live",
            "EFI/BOOT/BOOTAA64.EFI",
            texts={
                "boot/grub/grub.cfg": grub(
                    f"{BOOTCHAIN} stagename=live init=/usr/libexec/install2/install2-init"
                )
            },
        ),
        {
            "arch": "aarch64",
            "product": "ALT p11 jeos-sysv",
            "version": "",
            "branch": "p11",
            "installer": stage("live", "init=/usr/libexec/install2/install2-init"),
        },
    ),
    "p11 with two kernels": (
        image(
            "ALT Workstation K 11.1",
            *BOOT,
            "boot/vmlinuz-6.12.41-6.12-alt1",
            "boot/initrd-6.12.41-6.12-alt1.img",
            "boot/vmlinuz-6.1.0-orphan",
            "live",
            texts={".disk/arch": "x86_64", "boot/grub/grub.cfg": grub(f"{BOOTCHAIN} live")},
        ),
        {
            "arch": "x86_64",
            "kernel": "boot/vmlinuz",
            "flavours": {
                "6.12.41-6.12-alt1": {
                    "kernel": "boot/vmlinuz-6.12.41-6.12-alt1",
                    "initrd": "boot/initrd-6.12.41-6.12-alt1.img",
                }
            },
        },
    ),
    "education without arch and version in its id": (
        image(
            "ALT Education",
            *BOOT,
            "altinst",
            "live",
            "EFI/BOOT/BOOTX64.EFI",
            "EFI/BOOT/BOOTIA32.EFI",
            texts={
                ".disk/info": "ALT Education build 2024-11-05",
                ".disk/cpe": "cpe:/o:alt:education:10.4",
                "boot/grub/grub.cfg": grub(
                    f"fastboot {PROPAGATOR} stagename=altinst ramdisk_size=1 vga=normal",
                    f"fastboot live {PROPAGATOR} stagename=live ramdisk_size=1",
                ),
            },
        ),
        {
            "arch": "x86_64",
            "product": "ALT Education",
            "version": "10.4",
            "branch": "p10",
            "dialect": "propagator",
            "livecd": stage("live"),
            "installer": stage("altinst"),
            "rescue": None,
            "http_iso": True,
            "missing": {},
        },
    ),
    "10.0: full.cz in boot, linux$linux_suffix": (
        image(
            "ALT 10.0 Workstation K Live x86_",
            "boot/vmlinuz",
            "boot/full.cz",
            "live",
            date="2021-12-23",
            texts={
                "boot/grub/grub.cfg": grub(
                    f"fastboot live {PROPAGATOR} stagename=live $EFI_BOOTARGS",
                    initrd="/boot/full.cz",
                    word="linux$linux_suffix",
                )
            },
        ),
        {
            "arch": "x86_64",
            "product": "ALT 10.0 Workstation K Live",
            "version": "10.0",
            "branch": "p10",
            "dialect": "propagator",
            "initrd": "boot/full.cz",
            "http_iso": True,
        },
    ),
    "p10 kit before whole ISOs over HTTP": (
        image(
            "ALT p10 mate/x86_64",
            *("boot/vmlinuz", "boot/full.cz", "live"),
            date="2021-09-12",
        ),
        {
            "dialect": "propagator",
            "dialect_source": "boot/full.cz",
            "boot_source": "known path",
            "http_iso": False,
            "missing": {"version": ""},
        },
    ),
    "p9 kit of a time when p10 took whole ISOs over HTTP": (
        image("ALT p9 xfce/x86_64", *("boot/vmlinuz", "boot/full.cz", "live"), date="2022-06-12"),
        {"branch": "p9", "dialect": "propagator", "http_iso": False},
    ),
    "8.2 workstation: .disk/info of before 2019-02": (
        image(
            "ALT Workstation",
            *("syslinux/alt0/vmlinuz", "syslinux/alt0/full.cz", "live"),
            date="2018-03-06",
            texts={".disk/info": "ALT Workstation 2018-03-05\n", ".disk/arch": "x86_64\n"},
        ),
        {"product": "ALT Workstation", "build_date": "2018-03-05"},
    ),
    "p9 with isolinux only": (
        image(
            "ALT Workstation 9.2 i586",
            *("syslinux/alt0/vmlinuz", "syslinux/alt0/full.cz"),
            *("EFI/BOOT/vmlinuz", "EFI/BOOT/full.cz", "altinst", "live", "rescue"),
            date="2021-11-01",
            texts={
                "syslinux/isolinux.cfg": isolinux(
                    "changedisk fastboot automatic=method:cdrom ramdisk_size=464671 showopts",
                    "fastboot live automatic=method:cdrom ramdisk_size=1 stagename=live lowmem",
                    "fastboot live automatic=method:cdrom ramdisk_size=1 stagename=rescue",
                )
            },
        ),
        {
            "arch": "i586",
            "branch": "p9",
            "dialect": "propagator",
            "dialect_source": "syslinux/isolinux.cfg",
            "boot_source": "syslinux/isolinux.cfg",
            "kernel": "syslinux/alt0/vmlinuz",
            "initrd": "syslinux/alt0/full.cz",
            "livecd": stage("live"),
            "installer": stage("altinst"),
            "rescue": stage("rescue"),
            "http_iso": False,
        },
    ),
    "8.2 server: ISOIMAGE": (
        image(
            "ISOIMAGE",
            *("syslinux/alt0/vmlinuz", "syslinux/alt0/full.cz", "altinst"),
            date="2017-09-01",
            file_name="alt-server-8.2-x86_64.iso",
            texts={"syslinux/isolinux.cfg": isolinux("automatic=method:cdrom")},
        ),
        {
            "arch": "x86_64",
            "version": "",
            "branch": "",
            "dialect": "propagator",
            "missing": {"version": "", "branch": ""},
        },
    ),
    "4.0": (
        image(
            "Server",
            *("isolinux/alt0/vmlinuz", "isolinux/alt0/full.cz", "altinst"),
            date="2007-07-01",
            file_name="server-i586.iso",
            texts={"isolinux/isolinux.cfg": isolinux("automatic=method:cdrom")},
        ),
        {"arch": "i586", "kernel": "isolinux/alt0/vmlinuz", "dialect": "propagator"},
    ),
    "Elbrus": (
        image(
            "ALT for Elbrus",
            *("boot/image.0", "boot/initrd.img", "live"),
            date="2025-06-01",
            texts={
                ".disk/arch": "e2kv4",
                "boot.conf": e2k(
                    f"root=bootchain bootchain=fg,altboot automatic=method:cdrom stagename=live "
                    f"{SYSTEMD_INSTALL}"
                ),
            },
        ),
        {
            "arch": "e2kv4",
            "kernel": "boot/image.0",
            "initrd": "boot/initrd.img",
            "boot_source": "boot.conf",
            "dialect": "altboot",
            "installer": stage("live", SYSTEMD_INSTALL),
            "livecd": None,
        },
    ),
    "regular before type:iso": (
        image(
            "ALT regular-xfce/x86_64",
            *BOOT,
            "live",
            date="2023-07-05",
            texts={"boot/grub/grub.cfg": grub(f"live {BOOTCHAIN} stagename=live")},
        ),
        {"branch": "sisyphus", "dialect": "altboot", "http_iso": False, "livecd": stage("live")},
    ),
    "stage named by the menu only": (
        image(
            "ALT p11 x/x86_64",
            *BOOT,
            "mediacheck",
            "other",
            texts={"boot/grub/grub.cfg": grub(f"{BOOTCHAIN} stagename=mediacheck mediacheck=1")},
        ),
        {
            "stages": {
                "mediacheck": {"path": "mediacheck", "size": MIB, "ramdisk_size": 1025},
            },
            "livecd": None,
            "installer": None,
            "rescue": None,
        },
    ),
    "an installer of its own comes before one in live": (
        image(
            "ALT p10 x/x86_64",
            *BOOT,
            "altinst",
            "live",
            texts={"boot/grub/grub.cfg": grub(f"{PROPAGATOR} stagename=live {SYSTEMD_INSTALL}")},
        ),
        {"installer": stage("altinst"), "livecd": None},
    ),
    "kernel behind links": (
        image(
            "ALT p11 x/x86_64",
            *("boot/vmlinuz-6.1", "boot/initrd-6.1.img", "live"),
            links={"boot/vmlinuz": "vmlinuz-6.1", "boot/initrd.img": "../boot/initrd-6.1.img"},
        ),
        {"kernel": "boot/vmlinuz-6.1", "initrd": "boot/initrd-6.1.img"},
    ),
    "kernel behind a loop of links": (
        image("x", "boot/initrd.img", links={"boot/vmlinuz": "a", "boot/a": "vmlinuz"}),
        {"kernel": "", "initrd": ""},
    ),
    "names that a script could misread": (
        image(
            "ALT p11 x/x86_64",
            *("boot/${ip}", "boot/initrd;x.img", "live${x}", "sub/live", "boot/vmlinuz-a;b"),
            "boot/initrd-a;b.img",
            texts={
                "syslinux/isolinux.cfg": isolinux(
                    "automatic=method:cdrom stagename=live${x} init=/${x}/install2-init",
                    "automatic=method:cdrom stagename=sub/live",
                    kernel="/boot/${ip}",
                    initrd="/boot/initrd;x.img",
                )
            },
        ),
        {"kernel": "", "initrd": "", "stages": {}, "flavours": {}, "installer": None},
    ),
    "a stage with an installer argument that a script could misread": (
        image(
            "ALT p11 x/x86_64",
            *(*BOOT, "live"),
            texts={
                "boot/grub/grub.cfg": grub(f"{BOOTCHAIN} stagename=live init=/$x/install2-init")
            },
        ),
        {"installer": None, "livecd": stage("live")},
    ),
    "a menu whose kernel was rejected": (
        image(
            "ALT p11 x/x86_64",
            *("boot/initrd.img", "live"),
            texts={"boot/grub/grub.cfg": grub(f"{BOOTCHAIN} stagename=live")},
        ),
        {
            "dialect": "altboot",
            "kernel": "",
            "missing": {
                "kernel": "netboot:images:NAME:kernel",
                "initrd": "netboot:images:NAME:initrd",
                "version": "",
            },
        },
    ),
    "no ALT image": (
        image("Debian 12", "install.amd/vmlinuz", date=""),
        {
            "arch": "",
            "dialect": "",
            "dialect_source": "",
            "build_date": "",
            "http_iso": False,
            "missing": {
                "arch": "netboot:images:NAME:alt_arch",
                "dialect": "netboot:images:NAME:dialect",
                "kernel": "netboot:images:NAME:kernel",
                "initrd": "netboot:images:NAME:initrd",
                "stages": "",
                "version": "",
                "branch": "",
                "uuid": "",
                "build_date": "",
            },
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_facts(case):
    (volume, entries, contents, file_name), expected = CASES[case]
    facts = iso_facts.derive(volume, entries, contents, file_name=file_name)
    assert {key: facts[key] for key in expected} == expected


# How the dialect is told when the menus do not: (volume id, file, its text, date, dialect, source)
DIALECTS = [
    ("x", ".disk/bootchain", None, "2024-01-01", "altboot", ".disk/bootchain"),
    ("x", ".disk/initrd.mk", "FEATURES += add-modules\nFEATURES  += bootchain-nfs\n", "2024-01-01")
    + ("altboot", ".disk/initrd.mk"),
    ("x", ".disk/initrd.mk", "FEATURES += propagator\n", "2024-01-01")
    + ("propagator", ".disk/initrd.mk"),
    ("ALT p11 x/x86_64", "y", None, "2024-01-01", "altboot", "branch p11"),
    ("ALT c10f2 x/x86_64", "y", None, "2024-01-01", "propagator", "branch c10f2"),
    ("ALT Server 10.4 x86_64", "y", None, "2024-01-01", "propagator", "branch p10"),
    ("ALT regular-x/x86_64", "y", None, "2021-08-25", "propagator", "build date 2021-08-25"),
    ("ALT regular-x/x86_64", "y", None, "2021-11-03", "altboot", "build date 2021-11-03"),
    ("ALT regular-x/x86_64", "y", None, "", "", ""),
    ("x", "y", None, "2024-01-01", "", ""),
]


@pytest.mark.parametrize(("volume_id", "path", "text", "date", "dialect", "source"), DIALECTS)
def test_dialect_without_menus(volume_id, path, text, date, dialect, source):
    texts = {} if text is None else {path: text}
    arguments = image(volume_id, *BOOT, *([] if texts else [path]), texts=texts, date=date)
    facts = iso_facts.derive(*arguments)
    assert (facts["dialect"], facts["dialect_source"]) == (dialect, source)


ARCHES = [
    ("ALT Server 11.0 x86_64", {}, (), "x86_64"),
    ("ALT p11 xfce/i586", {}, (), "i586"),
    ("Simply Linux 9.0 i686", {}, (), "i586"),
    ("ALT 9.2 Workstation K Live x86_6", {}, (), "x86_64"),
    ("ALT Workstation K 11.1", {".disk/arch": "aarch64\n"}, (), "aarch64"),
    ("ALT", {".disk/info": "ALT Server 11.0 ppc64le build 2024-01-01"}, (), "ppc64le"),
    ("ALT", {}, ("EFI/BOOT/bootriscv64.efi",), "riscv64"),
    ("ALT", {}, ("EFI/BOOT/BOOTLOONGARCH64.EFI",), "loongarch64"),
    ("ALT", {}, ("EFI/BOOT/BOOTAA64.EFI",), "aarch64"),
    ("ALT", {}, ("EFI/BOOT/BOOTX64.EFI",), "x86_64"),
    ("ALT", {}, ("EFI/BOOT/BOOTIA32.EFI",), "i586"),
    ("ALT", {}, ("EFI/BOOT/BOOTIA32.EFI", "EFI/BOOT/BOOTX64.EFI"), "x86_64"),
    ("ALT", {}, (), ""),
]


@pytest.mark.parametrize(("volume_id", "texts", "files", "arch"), ARCHES)
def test_arch(volume_id, texts, files, arch):
    assert iso_facts.derive(*image(volume_id, *files, texts=texts))["arch"] == arch


BRANCHES = [
    ("ALT Server 11.0 x86_64", "", "p11", "11.0"),
    ("ALT Workstation 9.2 i586", "", "p9", "9.2"),
    ("Simply Linux 8.2.0 x86_64", "", "p8", "8.2.0"),
    ("ALT Linux 5.0.2", "", "p5", "5.0.2"),
    ("ALT p10 xfce/x86_64", "cpe:/o:alt:starterkit:p10", "p10", "p10"),
    ("ALT regular-jeos/x86_64", "cpe:/o:alt:sisyphus:20240101", "sisyphus", "20240101"),
    ("ALT Education", "cpe:/o:alt:education:11.0", "p11", "11.0"),
    ("ALT Education", "", "", ""),
]


@pytest.mark.parametrize(("volume_id", "cpe", "branch", "version"), BRANCHES)
def test_branch_and_version(volume_id, cpe, branch, version):
    facts = iso_facts.derive(*image(volume_id, texts={".disk/cpe": cpe}))
    assert (facts["branch"], facts["version"]) == (branch, version)


BUILD_DATES = [
    ({".disk/info": "ALT x build 2024-05-29\n", ".disk/date": "20230101"}, "2024-05-29"),
    ({".disk/info": "ALT x", ".disk/date": "20230101\n"}, "2023-01-01"),
    ({".disk/info": "ALT x", ".disk/date": "yesterday"}, "2024-06-01"),
    ({}, "2024-06-01"),
]


@pytest.mark.parametrize(("texts", "date"), BUILD_DATES)
def test_build_date(texts, date):
    assert iso_facts.derive(*image("x", texts=texts))["build_date"] == date


@pytest.mark.parametrize(
    ("dialect", "date", "expected"),
    [
        (BOOTCHAIN, "2023-07-10", False),
        (BOOTCHAIN, "2023-07-11", True),
        (PROPAGATOR, "2021-10-07", False),
        (PROPAGATOR, "2021-12-12", True),
    ],
)
def test_whole_iso_over_http_depends_on_the_build_date(dialect, date, expected):
    texts = {"boot/grub/grub.cfg": grub(dialect)}
    assert iso_facts.derive(*image("x", texts=texts, date=date))["http_iso"] is expected


@pytest.mark.parametrize(("kernel", "initrd"), iso_facts.BOOT_FILES)
def test_known_paths(kernel, initrd):
    facts = iso_facts.derive(*image("ALT", kernel, initrd))
    assert (facts["kernel"], facts["initrd"]) == (kernel, initrd)
    assert facts["boot_source"] == "known path"


@pytest.mark.parametrize(("size", "kib"), [(1, 1), (1023, 1), (1024, 2), (4 * 2**30 + 1, 4194305)])
def test_ramdisk_size_is_in_kib_rounded_up(size, kib):
    arguments = image("ALT", "live")
    arguments[1][0]["size"] = size
    assert iso_facts.derive(*arguments)["stages"]["live"]["ramdisk_size"] == kib


def test_missing_names_the_image():
    volume, entries, texts, _ = image("x")
    missing = iso_facts.derive(volume, entries, texts, image="srv-11")["missing"]
    assert missing["kernel"] == "netboot:images:srv-11:kernel"


@pytest.mark.parametrize(
    "text",
    ["", "\0\0", "linux\ninitrd\n", "initrd x\nlinux y automatic", "label=\nappend a\nlabel\n"],
)
@pytest.mark.parametrize("path", iso_facts.texts())
def test_broken_texts_tell_nothing(path, text):
    facts = iso_facts.derive(*image("x", *BOOT, texts={path: text}))
    assert facts["dialect"] == ""
    assert facts["boot_source"] == "known path"
