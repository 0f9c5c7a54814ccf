"""
The keys below the pillar key ``netboot``: which values each accepts, its default, whether it is
required, and what it means. Pure.

``KEYS`` is the only place where a key is defined: validation, defaults (``netboot_values``),
``docs/pillar.md`` and ``docs/pillar.schema.json`` (``docs/make.py``) come from it. Rules between
keys are checked by ``netboot_pillar``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import netboot_checks as check
import netboot_host_checks as host
import netboot_install_checks as install
import netboot_network_checks as network
import netboot_url_checks as url
import netboot_window as window
from netboot_labels import LABELS
from netboot_names import (
    ARCHES,
    DIGEST_DIGITS,
    FIRMWARE,
    FORMS,
    METHODS,
    NICS,
    SAFE_DIGESTS,
    SOURCES,
    VARIANTS,
)
from netboot_patterns import Check


class Key(NamedTuple):
    """
    A row of the table.

    ``path``
        Below ``netboot``, with dots; ``*`` stands for any name. Maps have no row of their own: they
        follow from the paths below them.
    ``check``
        See ``netboot_checks``.
    ``default``
        None: ``meaning`` describes the default, if there is one.
    ``required``
        Whether the map that contains it must have it.
    ``unless``
        Name of a sibling key which, if true, makes it optional.
    """

    path: str
    check: Check
    default: Any
    meaning: str
    required: bool = False
    unless: str = ""


# What a host boots, and how; groups have the same keys.
_HOST_SETTINGS: tuple[Key, ...] = (
    Key(
        "image",
        check.text,
        None,
        "Name of the image to boot; needs `variant`.",
    ),
    Key(
        "variant",
        check.one_of(*VARIANTS),
        None,
        "Which variant of the image to boot: livecd, install or rescue.",
    ),
    Key(
        "install",
        install.install_name,
        None,
        "Name of an install below `installs`: `image` is installed unattended, once, after "
        "`netboot.arm`. `variant` and `once` follow from it.",
    ),
    Key(
        "entry",
        check.one_of("local"),
        None,
        "`local`, instead of `image`: boot from its own disk.",
    ),
    Key(
        "once",
        check.yes_or_no,
        False,
        "`true`: boot the image one time after `netboot.arm host=NAME`, else from its own disk.",
    ),
    Key(
        "menu",
        check.yes_or_no,
        None,
        "`true`: show the menu with this entry as default. Default: boot it without asking.",
    ),
    Key(
        "timeout_s",
        check.whole(1, 3600),
        None,
        "Seconds until the menu starts its default entry. Default: `menu:timeout_s`.",
    ),
    Key(
        "arguments",
        check.arguments(check.LONGEST_HOST_ARGUMENTS),
        (),
        "Extra kernel arguments, whatever it boots. A host's come after its group's.",
    ),
    Key(
        "kernel_over",
        check.one_of("http", "tftp"),
        None,
        "How kernel and initrd are fetched. Default: `kernel_over` of the architecture.",
    ),
    Key(
        "nic",
        check.one_of(*NICS),
        None,
        "Which network card the booted system sets up, see `images:NAME:nic`, whatever it boots.",
    ),
    Key(
        "secure_boot",
        check.yes_or_no,
        True,
        "`false`: load the unsigned boot loader, whatever the key `secure_boot` says, as some old "
        "machines hang in signed ones. DHCP recognizes a host by `mac` or `uuid` only.",
    ),
)


# Unattended installs: what ALT's installer is answered, see ``netboot_answers``.
_INSTALLS: tuple[Key, ...] = tuple(
    row._replace(path=f"installs.*.{row.path}")
    for row in (
        Key(
            "disk",
            install.disk,
            None,
            "Which disk may be wiped. `all`: every disk of the machine is wiped. Since p11, one: "
            "`smallest`; `empty`, the only disk without partitions and data; a path such as "
            "`/dev/disk/by-path/pci-0000:00:17.0-ata-1` or below `by-id`; or `[100, 600]`, the "
            "only disk with a size in this range, in GB. The others are hidden from the installer; "
            "if there is not exactly one such disk, nothing is wiped.",
            required=True,
        ),
        Key(
            "root_password",
            install.crypt_hash,
            None,
            "Hash of root's password, as `openssl passwd -6` prints it.",
            required=True,
        ),
        Key(
            "users.*.password",
            install.crypt_hash,
            None,
            "Hash of the password of the user NAME.",
            required=True,
        ),
        Key(
            "users.*.real_name",
            install.real_name,
            "",
            "Full name of the user.",
        ),
        Key(
            "users.*.admin",
            check.yes_or_no,
            False,
            "`true`: the user may become root.",
        ),
        Key(
            "users.*.autologin",
            check.yes_or_no,
            False,
            "`true`: the user is logged in when the system starts. Since p11, one user. No public "
            "answer file has it, so try one machine.",
        ),
        Key(
            "language",
            install.language,
            "ru_RU",
            "Language of the installed system.",
        ),
        Key(
            "keyboard",
            check.one_of("ctrl_shift_toggle", "alt_shift_toggle", "alt_sh_toggle"),
            "alt_shift_toggle",
            "Keys that switch the keyboard's layout.",
        ),
        Key(
            "timezone",
            install.timezone,
            "Europe/Moscow",
            "Time zone.",
        ),
        Key(
            "utc",
            check.yes_or_no,
            True,
            "Whether the machine's clock runs in UTC. `false`: in local time, as Windows sets it.",
        ),
        Key(
            "layout",
            check.one_of("ext4", "btrfs", "own"),
            "ext4",
            "Partitions: `ext4`; `btrfs`, with the subvolumes `@` and `@home`; `own`, those of "
            "`vm_profile`. What the firmware needs is added.",
        ),
        Key(
            "swap_mib",
            check.whole(0, 1048576),
            2048,
            "Size of the swap partition in MiB; 0: none.",
        ),
        Key(
            "root_mib",
            check.whole(4096, 16777216),
            20480,
            "Size of the partition of `/` in MiB; without a partition of its own for `/home`, the "
            "least size.",
        ),
        Key(
            "home",
            check.yes_or_no,
            False,
            "`true`: `/home` gets the rest of the disk as its own partition; with `btrfs`, it is "
            "always its own subvolume.",
        ),
        Key(
            "vm_profile",
            install.profile,
            None,
            "With `layout: own`: text of a vm-profile.scm with one profile, whose name is "
            "replaced. Sizes are in sectors of 512 bytes.",
        ),
        Key(
            "grub_device",
            install.grub_device,
            None,
            "Where GRUB is installed. Default: on UEFI, `efi`; else `/dev/sda`, and the disk that "
            "holds `/` if that is another. `efiremovable` and `efinonvram` are for UEFI alone.",
        ),
        Key(
            "network",
            check.one_of("NetworkManager", "etcnet", "systemd-networkd"),
            None,
            "What controls the network. Default: `NetworkManager`; up to p9, `etcnet`. It must be "
            "in the installed system: servers often have only `etcnet`.",
        ),
        Key(
            "interfaces",
            install.cards,
            (
                *("eth0", "eno1", "enp0s25", "enp0s3", "enp0s31f6", "enp1s0", "enp2s0", "enp3s0"),
                *("enp4s0", "ens3", "ens18", "ens192"),
            ),
            "Names of network cards that are set up with DHCP; those that a machine lacks do no "
            "harm.",
        ),
        Key(
            "package_groups",
            install.package_groups,
            (),
            "List of groups of packages to install besides the base system, as the image's "
            "`pkg-groups.tar` names them: `kworkstation/kde`.",
        ),
        Key(
            "packages",
            check.names_of("package"),
            (),
            "List of packages to install from the repositories at the first boot.",
        ),
        Key(
            "repositories",
            install.repositories,
            (),
            "List of lines of sources.list, which replace those that the installer sets up: "
            "`rpm [p11] http://192.0.2.1/p11/branch x86_64 classic`.",
        ),
        Key(
            "apt_proxy",
            install.proxy,
            None,
            "HTTP proxy of apt, such as `http://192.0.2.1:3142`.",
        ),
        Key(
            "ntp",
            install.servers,
            (),
            "List of time servers, which replace those of the installed system.",
        ),
        Key(
            "files.*.text",
            install.content,
            None,
            "Text of the file NAME, a path in the installed system.",
            required=True,
        ),
        Key(
            "files.*.mode",
            install.mode,
            "0644",
            "Its mode, in quotes. It belongs to root.",
        ),
        Key(
            "commands",
            install.commands,
            (),
            "List of shell commands to run at the first boot, after packages are installed. One "
            "that fails is reported, and the next runs.",
        ),
        Key(
            "script",
            install.script_url,
            None,
            "URL of a shell script to run at the first boot. The installer fetches it, within two "
            "seconds and without checking a certificate.",
        ),
        Key(
            "salt.master",
            install.server,
            None,
            "Name or address of the Salt master. With it, the first boot installs salt-minion from "
            "the repositories. If none has it, `failed-minion` is reported, and each boot tries "
            "again; until then `salt-ssh` reaches the machine, by a key in `files`.",
        ),
        Key(
            "salt.master_finger",
            install.finger,
            None,
            "Fingerprint of the master's public key, as `salt-key -F master` prints it.",
        ),
        Key(
            "salt.highstate",
            check.yes_or_no,
            True,
            "Whether the minion applies its highstate when it starts for the first time.",
        ),
        Key(
            "finish",
            check.one_of("reboot", "poweroff"),
            "reboot",
            "What the machine does once it is installed.",
        ),
    )
)


def _digests(binary: str) -> tuple[Key, ...]:
    return tuple(
        Key(
            f"{binary}.checksum.{kind}",
            check.digest(DIGEST_DIGITS[kind]),
            None,
            f"Its {kind.upper().replace('SHA', 'SHA-')}; one of the two is required.",
        )
        for kind in SAFE_DIGESTS
    )


KEYS: tuple[Key, ...] = (
    Key(
        "interface",
        network.interface,
        None,
        "Network interface on which clients are served, or a list of them. Default: the interface "
        "with the default route.",
    ),
    Key(
        "address",
        network.address,
        None,
        "IPv4 address that clients fetch from. Default: the first address of the interface.",
    ),
    Key(
        "virtual_address",
        check.yes_or_no,
        False,
        "`true`: `address` is not on this machine; a NAT or load balancer forwards it here.",
    ),
    Key(
        "root",
        check.directory,
        "/srv/export",
        "Directory that holds `dist/` (ISOs) and `tftp/` (boot files, menus, unpacked images).",
    ),
    Key(
        "images.*.url",
        url.file_url,
        None,
        "URL of the ISO: http, https, ftp or `file:///...`.",
        required=True,
        unless="skip_iso_deploy",
    ),
    Key(
        "images.*.file",
        url.iso_name,
        None,
        "File name of the ISO on the server, for two images whose URLs end in the same name, or a "
        "URL that ends in none, such as `https://.../download?id=5`. Default: that of `url`.",
    ),
    Key(
        "images.*.mirrors",
        url.file_urls,
        None,
        "List of other URLs of the same ISO, tried in order when `url` fails.",
    ),
    Key(
        "images.*.checksum.sha512",
        check.digest(DIGEST_DIGITS["sha512"]),
        None,
        "SHA-512 of the ISO. At least one checksum is required; all given ones are checked.",
    ),
    Key(
        "images.*.checksum.sha256",
        check.digest(DIGEST_DIGITS["sha256"]),
        None,
        "SHA-256 of the ISO.",
    ),
    Key(
        "images.*.checksum.sha1",
        check.digest(DIGEST_DIGITS["sha1"]),
        None,
        "SHA-1 of the ISO. Does not protect against forgery.",
    ),
    Key(
        "images.*.checksum.md5",
        check.digest(DIGEST_DIGITS["md5"]),
        None,
        "MD5 of the ISO. Does not protect against forgery.",
    ),
    Key(
        "images.*.sums",
        check.yes_or_no,
        False,
        "`true`, instead of `checksum`: take the digest from the file `SHA512SUM`, `SHA256SUM` or "
        "`MD5SUM` in the directory of the ISO. As trustworthy as that server: use https.",
    ),
    Key(
        "images.*.refresh",
        check.yes_or_no,
        False,
        "`true`: each apply checks whether the sum file has a new digest, and then fetches the new "
        "ISO. For names such as `alt-p11-latest-x86_64.iso`; needs `sums: true`.",
    ),
    Key(
        "images.*.verify",
        check.one_of("changed", "always"),
        "changed",
        "When an existing ISO is hashed again: `changed`, if its size, times or inode changed; "
        "`always`, at each apply.",
    ),
    Key(
        "images.*.alt_arch",
        check.one_of(*ARCHES),
        None,
        "Architecture. Default: detected from the ISO.",
    ),
    Key(
        "images.*.dialect",
        check.one_of("altboot", "propagator"),
        None,
        "First stage of the ISO. Default: detected from the ISO.",
    ),
    Key(
        "images.*.kernel",
        check.path_in_iso,
        None,
        "Path of the kernel in the ISO. Default: from the ISO's boot menu.",
    ),
    Key(
        "images.*.initrd",
        check.path_in_iso,
        None,
        "Path of the initial RAM disk in the ISO. Default: from the ISO's boot menu.",
    ),
    Key(
        "images.*.variants",
        check.some_of(*VARIANTS),
        None,
        "Which of livecd, install, rescue the menu offers. Default: all that the ISO contains.",
    ),
    Key(
        "images.*.methods",
        check.some_of(*METHODS),
        None,
        "How clients fetch this image's stage, preferred method first. Default: `methods`.",
    ),
    Key(
        "images.*.forms",
        check.some_of(*FORMS),
        None,
        "`tree`: clients fetch the stage from the unpacked image; `iso`: the whole ISO. Default: "
        "whatever suits the variant best. With several, the menu offers each.",
    ),
    Key(
        "images.*.arguments",
        check.arguments(check.LONGEST_ARGUMENTS),
        (),
        "Extra kernel arguments for this image, such as `[ai, 'curl=http://192.0.2.1/meta/']`.",
    ),
    Key(
        "images.*.nic",
        check.one_of(*NICS),
        None,
        "Which network card the system sets up (altboot only). `booted`: the one that it booted "
        "from, then named bootif0; `any`: all, and uses the first with an address. Default: `any` "
        "for installers, else `booted`.",
    ),
    Key(
        "images.*.imgsize",
        check.yes_or_no,
        False,
        "`true`: tell altboot the size of the download, so that many clients at once do not fail "
        "because they ask for it; but an error of the web server then looks like a broken image.",
    ),
    Key(
        "images.*.hash_mounted",
        check.yes_or_no,
        False,
        "`true`: over nfs and cifs, altboot reads the whole stage at each boot to verify it.",
    ),
    Key(
        "images.*.password",
        check.yes_or_no,
        False,
        "`true`: all its menu entries ask for a password, not only `menu:password:variants`.",
    ),
    Key(
        "images.*.extra_ipxe_conf",
        check.snippets,
        (),
        "List of maps with `comment` and `snippet`: lines of iPXE script to run before this image "
        "is loaded.",
    ),
    Key(
        "images.*.kernel_url",
        url.boot_url,
        None,
        "URL from which clients fetch the kernel, instead of from this server.",
    ),
    Key(
        "images.*.initrd_url",
        url.boot_url,
        None,
        "URL from which clients fetch the initial RAM disk.",
    ),
    Key(
        "images.*.stage2_http_url",
        url.stage_url,
        None,
        "URL of a directory from which clients fetch stages, or of an ISO (ends in .iso).",
    ),
    Key(
        "images.*.skip_iso_deploy",
        check.yes_or_no,
        False,
        "`true`: the image is on another server and is not fetched. Then `kernel_url`, "
        "`initrd_url` and `stage2_http_url` are required, and so is what would be read from the "
        "ISO: `alt_arch`, and `live_size` or `altinst_size`; `dialect` is optional.",
    ),
    Key(
        "images.*.unpack",
        check.one_of("stages", "tree"),
        None,
        "`stages`: unpack all stages; `tree`: unpack the whole ISO, for example as a package "
        "repository. Default: what the boot entries need.",
    ),
    Key(
        "images.*.mount",
        check.yes_or_no,
        False,
        "`true`: mount the ISO (loop, read-only, in /etc/fstab) instead of unpacking it.",
    ),
    Key(
        "images.*.keep_iso",
        check.yes_or_no,
        True,
        "`false`: remove the ISO after unpacking it. Not for images that boot the whole ISO.",
    ),
    Key(
        "images.*.grub_arch",
        check.taken_from_iso,
        None,
        "Accepted for lists of asheplyakov/netinstall-alt, but ignored: it is read from the ISO.",
    ),
    Key(
        "images.*.live_size",
        check.whole(0, 1 << 50),
        None,
        "Size of the stage `live` in bytes, for `skip_iso_deploy`; otherwise read from the ISO.",
    ),
    Key(
        "images.*.altinst_size",
        check.whole(0, 1 << 50),
        None,
        "Size of the stage `altinst` in bytes, for `skip_iso_deploy`; otherwise read from the ISO.",
    ),
    Key(
        "images.*.need_ramdisk_size",
        check.taken_from_iso,
        None,
        "Accepted for lists of asheplyakov/netinstall-alt, but ignored: it is read from the ISO.",
    ),
    Key(
        "images.*.http_iso_boot",
        check.yes_or_no,
        False,
        "Whether the whole ISO boots over HTTP, for `skip_iso_deploy`; else detected.",
    ),
    Key(
        "mirrors",
        url.directory_urls,
        None,
        "List of URLs of directories with copies of ISOs, such as `http://192.0.2.1/dist`. They "
        "are tried first, in order, with an image's `file`, or the file name in its `url`.",
    ),
    Key(
        "fetch.from",
        check.some_of("controller", *SOURCES),
        SOURCES,
        "Where ISOs come from, nearest first: `peers` (servers of the same `site`), `mirrors` (of "
        "that key), `master` (machines with `mirror` and without `site` that this minion's master "
        "knows), `upstream` (an image's `url` and its `mirrors`). What is left out is never asked. "
        "With `controller`, first of all: the host of `./netboot ssh` fetches them and sends them "
        "through the connection, for machines without internet.",
    ),
    Key(
        "fetch.at_once",
        check.whole(1, 64),
        4,
        "Number of ISOs that are fetched at the same time.",
    ),
    Key(
        "fetch.attempts",
        check.whole(1, 100),
        5,
        "How often a source is tried that fails without delivering anything new, with pauses of "
        "1, 2, 4, ... seconds.",
    ),
    Key(
        "fetch.stall_timeout_s",
        check.whole(1, 3600),
        60,
        "Seconds without data, or with less than 1 KiB/s, after which a source counts as failed.",
    ),
    Key(
        "proxy",
        install.proxy,
        None,
        "HTTP proxy for packages and ISOs, such as `http://192.0.2.1:3128`. It is not asked for "
        "machines on the networks of this server. Default: that of the environment.",
    ),
    Key(
        "deltas",
        check.yes_or_no,
        False,
        "`true`: a new revision of an ISO costs what changed, where its mirror (`mirrors`, or "
        "`master` of `fetch:from`) has a control file of zsync; on a machine with `mirror`: these "
        "files are made. Installs the package zsync, which Fedora does not have.",
    ),
    Key(
        "arm_new",
        check.yes_or_no,
        False,
        "`true`: hosts with `once` that are added to this pillar are armed by the next apply. "
        "`false`: they wait for `netboot.arm`. Hosts of a server's first apply always wait, as "
        "another server may have installed them.",
    ),
    Key(
        "arm_days",
        check.whole(1, 365),
        7,
        "Days after which a host that waits to be installed (`install`) is disarmed.",
    ),
    Key(
        "answer_hours",
        check.whole(1, 168),
        6,
        "Hours for which a machine that is installed gets its answers, from the moment that it has "
        "read its boot script.",
    ),
    Key(
        "arms",
        url.arms,
        True,
        "Of several servers on one network segment, one arms hosts with `once`. On the others: "
        "`false`, and such hosts boot from their own disks; or the URL of that server, such as "
        "`http://192.0.2.10`, to which they send its armed hosts.",
    ),
    Key(
        "waves",
        check.yes_or_no,
        False,
        "`true`: an image in service is replaced by another revision only when an apply is given "
        "`wave`, as `netboot_waves.roll` does on a master. A new image comes at once.",
    ),
    Key(
        "wave",
        check.one_of("go", "back", "through"),
        None,
        'Given to one apply, by `pillar=\'{"netboot": {"wave": "go"}}\'`, never kept. `go`: images '
        "change, and what they were before is kept. `back`: that comes back. `through`: it is "
        "removed. Needs `waves`.",
    ),
    Key(
        "window.days",
        window.days,
        None,
        "Days on which the window begins: a list of mon, tue, wed, thu, fri, sat, sun, or a range "
        "such as `mon-fri`. Default: all.",
    ),
    Key(
        "window.from",
        window.clock,
        None,
        "Local time at which it begins, such as `'22:00'`. Only in the window an apply restarts "
        "services and replaces images in service. Default: always.",
    ),
    Key(
        "window.to",
        window.clock,
        None,
        "Local time at which it ends; on the next day, if that is not after `from`.",
    ),
    Key(
        "window.open",
        check.yes_or_no,
        False,
        "`true`: given to one apply like `wave`, it does not wait for the window.",
    ),
    Key(
        "prune",
        check.yes_or_no,
        False,
        "`true`: remove images that are no longer in the pillar: trees, mounts and fetched ISOs. "
        "`false`: only list them.",
    ),
    Key(
        "clean_images",
        check.yes_or_no,
        False,
        "`true`: `state.apply netboot.clean` removes images too.",
    ),
    Key(
        "default_image.*",
        check.text,
        None,
        "Name of the image that the menu of this architecture starts when it times out. "
        "Default: the client boots from its own disk.",
    ),
    Key(
        "default_variant.*",
        check.one_of(*VARIANTS),
        "livecd",
        "Variant of `default_image` to start. With `install`, unattended clients start the "
        "installer.",
    ),
    Key(
        "methods",
        check.some_of(*METHODS),
        ("http",),
        "How clients fetch stages, preferred first: http, cifs, nfs, ftp. The menu offers each.",
    ),
    Key(
        "arguments.*",
        check.arguments(check.LONGEST_ARGUMENTS),
        (),
        "Extra kernel arguments for all images of an architecture.",
    ),
    Key(
        "kernel_over.*",
        check.one_of("http", "tftp"),
        "http",
        "How clients of an architecture fetch kernel and initrd. Baikal-M boards need `tftp`.",
    ),
    Key(
        "menu.title",
        check.text,
        "ALT Linux network boot",
        "Title of the boot menu.",
    ),
    Key(
        "menu.timeout_s",
        check.whole(1, 3600),
        30,
        "Seconds until the menu starts its default entry.",
    ),
    Key(
        "menu.arch_timeout_s.*",
        check.whole(1, 3600),
        None,
        "The same for a single architecture.",
    ),
    Key(
        "menu.languages",
        check.languages,
        ("en_US", "ru_RU"),
        "Languages that the menu can switch between, its own and that of what it boots; the first "
        "is the default. The menu is in Russian for `ru_RU`, else in English.",
    ),
    Key(
        "menu.unicode",
        check.yes_or_no,
        False,
        "`true`: UEFI clients show Russian letters as they are. Their firmware must have a font "
        "with them, and their iPXE be of March 2022 or newer, unlike Debian 12's (try one machine: "
        "it shows blanks, or two odd signs a letter). "
        "`false`, and on a BIOS: Latin letters, as in Russian passports (ICAO 9303).",
    ),
    Key(
        "menu.labels.*",
        check.text,
        None,
        "Own text for a line of the menu, in all languages. NAME: " + ", ".join(LABELS["en"]) + ".",
    ),
    Key(
        "menu.shell",
        check.yes_or_no,
        True,
        "Offer iPXE's command line.",
    ),
    Key(
        "menu.password.users.*",
        check.password_hash,
        None,
        "Hash of a user's password, as `openssl passwd -6` prints it. At most 99999 rounds, as "
        "the web server does nothing else while it computes them.",
    ),
    Key(
        "menu.password.variants",
        check.some_of(*VARIANTS),
        ("install",),
        "Variants that ask for a password if there are users; iPXE's command line always does.",
    ),
    Key(
        "menu.extra.*.kernel",
        url.boot_url,
        None,
        "Extra menu entry with the title NAME: boot the kernel at this URL (memtest, for example).",
    ),
    Key(
        "menu.extra.*.initrd",
        url.boot_url,
        None,
        "URL of its initial RAM disk.",
    ),
    Key(
        "menu.extra.*.arguments",
        check.arguments(check.LONGEST_ARGUMENTS),
        (),
        "Its kernel arguments.",
    ),
    Key(
        "menu.extra.*.chain",
        url.boot_url,
        None,
        "Instead of `kernel`: URL of an iPXE script or boot loader to chain to.",
    ),
    Key(
        "menu.extra.*.script",
        check.script,
        None,
        "Instead of `kernel`: lines of iPXE script to run.",
    ),
    Key(
        "menu.extra.*.password",
        check.yes_or_no,
        False,
        "`true`: the entry asks for a password.",
    ),
    Key(
        "menu.extra.*.arches",
        check.some_of(*ARCHES),
        ARCHES,
        "Architectures whose menus have the entry.",
    ),
    Key(
        "hosts.*.mac",
        host.macs,
        None,
        "MAC address of the host in any notation, in quotes: `'52:54:00:12:34:56'`; or a list, for "
        "a host with several network cards. If none of `mac`, `uuid`, `serial`, `hostname`, "
        "`product` and `manufacturer` is given, NAME is the MAC address, the UUID or the host "
        "name.",
    ),
    Key(
        "hosts.*.uuid",
        host.uuid,
        None,
        "UUID of the host, as reported by its firmware, in either byte order.",
    ),
    Key(
        "hosts.*.serial",
        host.smbios("serial"),
        None,
        "Serial number of the host, as reported by its firmware; not a text that many machines "
        "have, such as `To be filled by O.E.M.`.",
    ),
    Key(
        "hosts.*.hostname",
        host.host_name,
        None,
        "Host name, as assigned by the DHCP server: as written here, or all in lower or upper "
        "case; with its domain or without.",
    ),
    Key(
        "hosts.*.product",
        host.smbios("product"),
        None,
        "All machines of this model (SMBIOS product) instead of a single host. Settings of a "
        "single host take precedence. TF307-MB, TF307-MB-S-D and ET101-1.2 are built in.",
    ),
    Key(
        "hosts.*.manufacturer",
        host.smbios("manufacturer"),
        None,
        "All machines of this manufacturer (SMBIOS), in the same way.",
    ),
    Key(
        "hosts.*.group",
        check.text,
        None,
        "Name of a group below `groups` whose settings the host inherits.",
    ),
    *(row._replace(path=f"hosts.*.{row.path}") for row in _HOST_SETTINGS),
    Key(
        "hosts.*.network.interface",
        install.card,
        None,
        "With `install`, for a static address: name of the network card that gets it, in the "
        "installer and after it.",
        required=True,
    ),
    Key(
        "hosts.*.network.address",
        install.with_prefix,
        None,
        "Its IPv4 address and prefix length, such as `192.0.2.31/24`.",
        required=True,
    ),
    Key(
        "hosts.*.network.gateway",
        network.address,
        None,
        "Its default gateway. Default: none.",
    ),
    Key(
        "hosts.*.network.dns",
        network.addresses(1, 8),
        None,
        "List of its DNS servers.",
    ),
    # Defaults apply to a host after its group's settings are added.
    *(row._replace(path=f"groups.*.{row.path}", default=None) for row in _HOST_SETTINGS),
    *_INSTALLS,
    Key(
        "dhcp.mode",
        check.one_of_or_off("proxy", "server"),
        "proxy",
        "`proxy`: boot information only, beside the network's existing DHCP server. "
        "`server`: addresses too, from `subnets`. `off`: TFTP only; `netboot.dhcp_hints` prints "
        "the configuration that another DHCP server needs.",
    ),
    Key(
        "dhcp.clients_at_once",
        check.whole(1, 10000),
        200,
        "Number of clients that may boot at the same time (limit of TFTP transfers).",
    ),
    Key(
        "dhcp.relayed",
        network.networks,
        None,
        "With `proxy`: list of subnets from which a relay forwards DHCP requests to this machine.",
    ),
    Key(
        "dhcp.subnets.*.range",
        network.addresses(2, 2, unique=False),
        None,
        "With `server`: first and last address for clients, such as `[192.0.2.100, 192.0.2.199]`; "
        "NAME is the subnet, such as `192.0.2.0/24`: one of this machine's, or a relayed subnet.",
        required=True,
    ),
    Key(
        "dhcp.subnets.*.lease_s",
        check.whole(120, 2592000),
        3600,
        "Lease time in seconds.",
    ),
    Key(
        "dhcp.subnets.*.router",
        network.address,
        None,
        "Default gateway of the clients. Default: none; required for relayed subnets.",
    ),
    Key(
        "dhcp.subnets.*.dns",
        network.addresses(1, 8),
        None,
        "List of DNS servers.",
    ),
    Key(
        "dhcp.subnets.*.domain",
        network.domain,
        None,
        "Domain name of the clients.",
    ),
    Key(
        "dhcp.leases.*.address",
        network.address,
        None,
        "With `server`: fixed address of a client; NAME is its MAC address in quotes.",
        required=True,
    ),
    Key(
        "dhcp.leases.*.hostname",
        host.lease_name,
        None,
        "Host name of that client.",
    ),
    Key(
        "firmware.*.url",
        url.file_url,
        None,
        "URL of iPXE for a kind of firmware, instead of the platform's package: http, https, ftp "
        "or `file:///...`. NAME: bios, efi-x86_64, efi-i386, efi-aarch64, efi-riscv64 or "
        "efi-loongarch64.",
        required=True,
    ),
    *_digests("firmware.*"),
    Key(
        "secure_boot.*.image",
        check.text,
        None,
        "For machines with Secure Boot, without any file from outside: name of the image whose own "
        "shim and GRUB all UEFI machines of this kind load over PXE; NAME is efi-x86_64 or "
        "efi-aarch64. They boot images that are signed with the same key.",
    ),
    Key(
        "secure_boot.*.shim.url",
        url.file_url,
        None,
        "Or, with iPXE's menus: URL of a shim signed for their firmware, which all UEFI machines "
        "of this kind load, with Secure Boot on or off.",
        required=True,
    ),
    Key(
        "secure_boot.*.shim.path",
        check.file_below,
        None,
        "If that URL is of a `.tar.gz`, such as iPXE's release: path of the file in it. The "
        "checksum is that of the archive.",
    ),
    *_digests("secure_boot.*.shim"),
    Key(
        "secure_boot.*.ipxe.url",
        url.file_url,
        None,
        "URL of the signed iPXE that this shim starts.",
        required=True,
    ),
    Key(
        "secure_boot.*.ipxe.path",
        check.file_below,
        None,
        "Its path in that archive, such as `ipxeboot/x86_64-sb/snponly.efi`.",
    ),
    *_digests("secure_boot.*.ipxe"),
    Key(
        "secure_boot.*.enrolled",
        check.certificate_names,
        None,
        "List of names of certificates that all these machines have enrolled (MOK, db), as "
        "`./netboot doctor` prints them: it no longer asks for them.",
    ),
    Key(
        "secure_boot.*.unsigned",
        host.mac_beginnings,
        None,
        "List of MAC addresses, or how they begin (`00:1e:4f`), of machines that load the unsigned "
        "boot loader all the same. For a host of the pillar: its own `secure_boot: false`.",
    ),
    Key(
        "http.port",
        check.whole(1, 65535),
        80,
        "TCP port of the web server.",
    ),
    Key(
        "http.listen",
        network.addresses(1, 16),
        None,
        "List of this machine's addresses that the web server listens on. Default: all.",
    ),
    Key(
        "http.listing",
        check.one_of_or_off("json", "html"),
        "json",
        "Directory listings. `json`: of `/dist/`, for scripts. `html`: of `/dist/` and `/tftp/`, "
        "for people. `off`: none.",
    ),
    Key(
        "http.certificate",
        check.file,
        None,
        "Serve the same files over HTTPS too: path of your certificate file on the server (PEM, "
        "followed by its issuers' certificates). Menus stay on http, as iPXE does not trust the "
        "certificate. Reload nginx after a renewal.",
    ),
    Key(
        "http.key",
        check.file,
        None,
        "Path of its private key.",
    ),
    Key(
        "http.https_port",
        check.whole(1, 65535),
        443,
        "TCP port of HTTPS.",
    ),
    Key(
        "http.clients_at_once",
        check.whole(1, 10000),
        None,
        "Number of clients that load an image at once, and that begin to within a minute; later "
        "ones wait in iPXE for their turn. `netboot.plan` says which number suits the link. "
        "Default: all at once.",
    ),
    Key(
        "status.allow",
        network.clients_or_off,
        None,
        "Networks from which the status page `http://ADDRESS/netboot/` can be seen, such as "
        "`[192.0.2.0/24]`. Default: the networks of `interface`. This machine always sees it. "
        "`off`: no page.",
    ),
    Key(
        "probe",
        check.yes_or_no,
        True,
        "Whether an apply ends by loading what each entry of the menu loads, as each kind of "
        "firmware does, when something has changed and once a day. `false`: only "
        "`netboot.check probe=True` does.",
    ),
    Key(
        "site",
        check.site,
        "",
        "Name of the place with this server. Servers of the same place fetch each ISO once from "
        "elsewhere and then from each other; needs a minion.",
    ),
    Key(
        "mirror",
        check.one_of_or_off("only", "also"),
        "off",
        "Whether this machine has the ISOs for other servers. `only`: it fetches, verifies and "
        "serves ISOs, and does nothing for clients. `also`: besides what a server does.",
    ),
    Key(
        "share_url",
        url.server_url,
        None,
        "Where other servers reach this one, such as `http://192.0.2.1:8080`, if it is not at its "
        "own address.",
    ),
    Key(
        "events",
        check.yes_or_no,
        False,
        "`true`, on a minion: each step of a client is an event on the master's bus within about "
        "two minutes, `netboot/client/MAC/STEP`, for reactors.",
    ),
    Key(
        "metrics.file",
        check.file_ending(".prom"),
        None,
        "Path of a file with metrics for the textfile collector of Prometheus' node_exporter, such "
        "as `/var/lib/prometheus/node-exporter/netboot.prom`; its directory must exist. Default: "
        "none.",
    ),
    Key(
        "smb.smb1",
        check.yes_or_no,
        False,
        "`true`: enable SMB1 in Samba, which images of p9 and early p10 need for method cifs. "
        "Insecure, and it affects all shares of the machine.",
    ),
    Key(
        "ftp.passive_ports",
        check.port_range,
        (50000, 50999),
        "First and last TCP port of FTP data connections.",
    ),
    Key(
        "tftp.ports",
        check.port_range,
        (61000, 65535),
        "First and last UDP port of TFTP transfers; at least `dhcp:clients_at_once` ports.",
    ),
    Key(
        "nfs.clients",
        network.clients,
        None,
        "List of networks that may mount the exports. Default: the networks of the interface.",
    ),
    Key(
        "admins.*.keys",
        check.public_keys,
        None,
        "List of public keys for ssh logins to this account; NAME is the account. It is created if "
        "it does not exist.",
        required=True,
    ),
    Key(
        "admins.*.sudo",
        check.yes_or_no,
        True,
        "Whether the account has full sudo without a password. Only for accounts created here.",
    ),
    Key(
        "firewall",
        check.one_of_or_off("auto"),
        "auto",
        "`auto`: open the needed ports in firewalld or ufw, where one runs; for hand-written "
        "firewalls, the rules to add are printed. `off`: no rules are added.",
    ),
    Key(
        "schedule.hours",
        check.whole(1, 8760),
        None,
        "Interval in hours at which the states are applied: by the minion if it has a master, by a "
        "systemd timer (`netboot-apply`) if the machine applies them without one; not over "
        "salt-ssh. Default: off.",
    ),
    Key(
        "schedule.minutes",
        check.whole(1, 525600),
        None,
        "Interval in minutes, instead of `hours`.",
    ),
    Key(
        "schedule.splay_s",
        check.whole(0, 86400),
        600,
        "Maximum random delay of each run in seconds, so that many servers do not start at once.",
    ),
    *(
        Key(f"platform.packages.{one}", check.names_of("package"), None, f"Packages for {what}.")
        for one, what in (
            ("firmware", "iPXE. `platform` has values for ALT, Debian, Fedora and their kin"),
            ("dhcp", "DHCP and TFTP (dnsmasq)"),
            ("http", "the web server (nginx)"),
            ("smb", "the SMB server (Samba)"),
            ("ftp", "the FTP server (vsftpd)"),
            ("nfs", "the NFS server"),
            ("once", "Python"),
            ("selinux", "semanage, where SELinux is on"),
            ("admins", "sudo"),
            ("deltas", "zsync"),
        )
    ),
    Key(
        "platform.firmware.*",
        check.files,
        None,
        "Paths of iPXE for a kind of firmware; the first that exists is used. NAME: as in "
        "`firmware`.",
    ),
    *(
        Key(f"platform.{path}", of, None, meaning)
        for path, of, meaning in (
            ("dnsmasq.user", check.user_name, "User that dnsmasq runs as."),
            ("dnsmasq.group", check.user_name, "Group that dnsmasq runs as."),
            (
                "dnsmasq.silence",
                check.names_of("unit"),
                "Units that the package starts on its own, but must not run.",
            ),
            ("nginx.service", check.unit, "Unit of nginx."),
            ("nginx.group", check.user_name, "Group that nginx runs as."),
            ("nginx.directory", check.file, "Directory of `nginx.conf`."),
            ("nginx.site", check.file_below, "File for the netboot site, below that directory."),
            ("nginx.once_log", check.file, "Log that nginx writes for hosts that boot once."),
            ("smb.service", check.unit, "Unit of Samba's smbd."),
            ("smb.config", check.file, "Samba's configuration."),
            ("smb.include", check.file, "File for the netboot shares, included by `smb.config`."),
            ("ftp.user", check.user_name, "User of anonymous FTP."),
            (
                "ftp.silence",
                check.names_of("unit"),
                "Units that vsftpd's package starts on its own, but must not run.",
            ),
            ("nfs.service", check.unit, "Unit of the NFS server."),
            ("nfs.exports", check.file, "File for the netboot exports."),
            (
                "nfs.control",
                check.names_of("facility"),
                "Facilities of ALT's control(8) that NFS needs set to `server`.",
            ),
            ("admins.groups", check.names_of("group"), "Groups of accounts created here."),
        )
    ),
)

#: Names of architectures, as keys of a map.
ARCH = check.one_of(*ARCHES)

#: Checks of the names in a map, by the map's path with ``*``.
NAMES: dict[str, Check] = {
    "images.*": check.image_name,
    "default_image.*": ARCH,
    "default_variant.*": ARCH,
    "arguments.*": ARCH,
    "kernel_over.*": ARCH,
    "menu.arch_timeout_s.*": ARCH,
    "menu.password.users.*": check.user_name,
    "menu.extra.*": check.text,
    "menu.labels.*": check.one_of(*LABELS["en"]),
    "admins.*": check.account,
    "hosts.*": host.key_of_host,
    "groups.*": check.text,
    "installs.*": install.install_name,
    "installs.*.users.*": install.user,
    "installs.*.files.*": install.file_name,
    "dhcp.subnets.*": network.subnet,
    "dhcp.leases.*": host.mac,
    "firmware.*": check.one_of(*FIRMWARE),
    "platform.firmware.*": check.one_of(*FIRMWARE),
    "secure_boot.*": check.one_of("efi-x86_64", "efi-aarch64"),
}
