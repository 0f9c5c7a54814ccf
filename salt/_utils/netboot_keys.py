"""
The keys that may stand below the pillar key ``netboot``: what each may hold, its default, whether
it is required, and what it means. Pure.

``KEYS`` is the only place where a key is defined: validation, defaults (``netboot_values``),
``docs/pillar.md`` and ``docs/pillar.schema.json`` (``docs/make.py``) come from it. What must hold
between keys is checked by ``netboot_pillar``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import netboot_checks as check
from netboot_names import ARCHES, DIGEST_DIGITS, FIRMWARE, FORMS, METHODS, SAFE_DIGESTS, VARIANTS


class Key(NamedTuple):
    """
    A row of the table.

    ``path``
        Below ``netboot``, with dots; ``*`` stands for any name. A map is known by the paths below
        it.
    ``check``
        See ``netboot_checks``.
    ``default``
        None: ``meaning`` says what holds instead.
    ``required``
        Whether the map that it stands in must have it.
    ``unless``
        Name of a key beside it which, if true, lifts that.
    """

    path: str
    check: check.Check
    default: Any
    meaning: str
    required: bool = False
    unless: str = ""


# What a host boots, and how; groups have the same.
_HOST_SETTINGS: tuple[Key, ...] = (
    Key(
        "image",
        check.text,
        None,
        "Name of the image that it boots, with `variant`.",
    ),
    Key(
        "variant",
        check.one_of(*VARIANTS),
        None,
        "Which of livecd, install, rescue.",
    ),
    Key(
        "entry",
        check.one_of("local"),
        None,
        "`local`, instead of `image`: it boots from its own disk.",
    ),
    Key(
        "once",
        check.yes_or_no,
        False,
        "`true`: it boots that one time, then from its own disk, until `netboot.arm host=NAME`.",
    ),
    Key(
        "menu",
        check.yes_or_no,
        None,
        "`true`: show the menu, with that as its default. Default: boot it without asking.",
    ),
    Key(
        "timeout_s",
        check.whole(1, 3600),
        None,
        "Seconds until the menu starts its default entry. Default: as for all.",
    ),
    Key(
        "arguments",
        check.arguments(check.LONGEST_HOST_ARGUMENTS),
        (),
        "More kernel arguments, whatever it boots. A host's come after its group's.",
    ),
    Key(
        "kernel_over",
        check.one_of("http", "tftp"),
        None,
        "How kernel and initrd are fetched. Default: as for all.",
    ),
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
        check.interface,
        None,
        "Network interface on which clients are served, or a list of them. Default: the one with "
        "the default route.",
    ),
    Key(
        "address",
        check.address,
        None,
        "IPv4 address that clients fetch from. Default: the first one of the interface.",
    ),
    Key(
        "virtual_address",
        check.yes_or_no,
        False,
        "`true`: `address` is not this machine's own; something in front leads it here (NAT).",
    ),
    Key(
        "root",
        check.directory,
        "/srv/export",
        "Folder that holds `dist/` (ISOs) and `tftp/` (boot files, menus, unpacked images).",
    ),
    Key(
        "images.*.url",
        check.url,
        None,
        "Where the ISO is fetched from: http, https, ftp or `file:///...`.",
        required=True,
        unless="skip_iso_deploy",
    ),
    Key(
        "images.*.mirrors",
        check.urls,
        None,
        "List of other addresses of the same ISO, tried in order when `url` fails.",
    ),
    Key(
        "images.*.checksum.sha512",
        check.digest(DIGEST_DIGITS["sha512"]),
        None,
        "SHA-512 of the ISO. At least one checksum is required; all that are given are checked.",
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
        "`true`, instead of `checksum`: the digest is that of the file `SHA512SUM`, `SHA256SUM` or "
        "`MD5SUM` in the folder of the ISO. As trustworthy as that server: use https.",
    ),
    Key(
        "images.*.refresh",
        check.yes_or_no,
        False,
        "`true`: each apply asks whether the sum file names another ISO now, and fetches that. For "
        "names such as `alt-p11-latest-x86_64.iso`; needs `sums: true`.",
    ),
    Key(
        "images.*.verify",
        check.one_of("changed", "always"),
        "changed",
        "When an ISO that is there is hashed: `changed`, if its size, times or inode are other "
        "ones; `always`, at each apply.",
    ),
    Key(
        "images.*.alt_arch",
        check.one_of(*ARCHES),
        None,
        "Architecture. Default: as the ISO says.",
    ),
    Key(
        "images.*.dialect",
        check.one_of("altboot", "propagator"),
        None,
        "What the ISO's first stage understands. Default: as the ISO says.",
    ),
    Key(
        "images.*.kernel",
        check.path_in_iso,
        None,
        "Kernel inside the ISO. Default: as the ISO's own boot menu says.",
    ),
    Key(
        "images.*.initrd",
        check.path_in_iso,
        None,
        "Initial RAM disk inside the ISO. Default: as the ISO's own boot menu says.",
    ),
    Key(
        "images.*.variants",
        check.some_of(*VARIANTS),
        None,
        "Which of livecd, install, rescue the menu offers. Default: all that the ISO has.",
    ),
    Key(
        "images.*.methods",
        check.some_of(*METHODS),
        None,
        "How this image's stage travels, best first. Default: `methods`.",
    ),
    Key(
        "images.*.forms",
        check.some_of(*FORMS),
        None,
        "`tree`: clients fetch the stage out of the unpacked image; `iso`: the whole ISO. Default: "
        "what suits the variant best; with several the menu offers each.",
    ),
    Key(
        "images.*.arguments",
        check.arguments(check.LONGEST_ARGUMENTS),
        (),
        "More kernel arguments for this image, such as `[ai, 'curl=http://192.0.2.1/meta/']`.",
    ),
    Key(
        "images.*.password",
        check.yes_or_no,
        False,
        "`true`: all its lines of the menu ask for a password, not only `menu:password:variants`.",
    ),
    Key(
        "images.*.extra_ipxe_conf",
        check.snippets,
        (),
        "List of maps with `comment` and `snippet`: lines of iPXE script that run before this "
        "image is loaded.",
    ),
    Key(
        "images.*.kernel_url",
        check.boot_url,
        None,
        "Clients fetch the kernel from there instead of from this server.",
    ),
    Key(
        "images.*.initrd_url",
        check.boot_url,
        None,
        "Clients fetch the initial RAM disk from there.",
    ),
    Key(
        "images.*.stage2_http_url",
        check.stage_url,
        None,
        "Clients fetch stages from this folder, or, if it ends in .iso, this ISO.",
    ),
    Key(
        "images.*.skip_iso_deploy",
        check.yes_or_no,
        False,
        "`true`: the image is on another server and is not fetched. `kernel_url`, `initrd_url` and "
        "`stage2_http_url` say where, and this list what its ISO would have told: `alt_arch`, "
        "`dialect`, `live_size` and `altinst_size` in bytes.",
    ),
    Key(
        "images.*.unpack",
        check.one_of("stages", "tree"),
        None,
        "`stages`: unpack all stages; `tree`: the whole ISO, say as a package repository. Default: "
        "what the boot entries need.",
    ),
    Key(
        "images.*.mount",
        check.yes_or_no,
        False,
        "Mount the ISO (loop, read-only, in /etc/fstab) instead of unpacking it: saves space.",
    ),
    Key(
        "images.*.keep_iso",
        check.yes_or_no,
        True,
        "`false`: remove the ISO once it is unpacked. Not for images that boot the whole ISO.",
    ),
    Key(
        "images.*.grub_arch",
        check.taken_from_iso,
        None,
        "Accepted from lists of asheplyakov/netinstall-alt and not used: the ISO tells it.",
    ),
    Key(
        "images.*.live_size",
        check.whole(0, 1 << 50),
        None,
        "Bytes of the stage, for `skip_iso_deploy`; else the ISO tells it.",
    ),
    Key(
        "images.*.altinst_size",
        check.whole(0, 1 << 50),
        None,
        "Bytes of the stage, for `skip_iso_deploy`; else the ISO tells it.",
    ),
    Key(
        "images.*.need_ramdisk_size",
        check.taken_from_iso,
        None,
        "Accepted from lists of asheplyakov/netinstall-alt and not used: the ISO tells it.",
    ),
    Key(
        "images.*.http_iso_boot",
        check.yes_or_no,
        False,
        "Whether it can boot as a whole ISO, for `skip_iso_deploy`; else the ISO tells it.",
    ),
    Key(
        "mirrors",
        check.folders,
        None,
        "List of addresses of folders with copies of ISOs, such as `http://192.0.2.1/dist`. The "
        "file name at the end of an image's `url` is looked for there first, in order.",
    ),
    Key(
        "fetch.at_once",
        check.whole(1, 64),
        4,
        "How many ISOs are fetched at the same time.",
    ),
    Key(
        "fetch.attempts",
        check.whole(1, 100),
        5,
        "How often a source is tried that breaks off without having brought anything new, with "
        "pauses of 1, 2, 4, ... seconds.",
    ),
    Key(
        "fetch.stall_timeout_s",
        check.whole(1, 3600),
        60,
        "Seconds without a byte, or with fewer than 1 KiB/s, after which a source counts as broken "
        "off.",
    ),
    Key(
        "prune",
        check.yes_or_no,
        False,
        "Remove images that are no longer named here: trees, mounts, ISOs that were fetched. "
        "`false`: only tell which.",
    ),
    Key(
        "clean_images",
        check.yes_or_no,
        False,
        "`state.apply netboot.clean` removes images too.",
    ),
    Key(
        "default_image.*",
        check.text,
        None,
        "Name of the image that the menu of this architecture starts when its time is up. "
        "Default: the client's own disk.",
    ),
    Key(
        "default_variant.*",
        check.one_of(*VARIANTS),
        "livecd",
        "Which variant of `default_image` that is. With `install`, clients install themselves when "
        "nobody is at the menu.",
    ),
    Key(
        "methods",
        check.some_of(*METHODS),
        ("http",),
        "How stages travel, best first: http, cifs, nfs, ftp. The menu offers each.",
    ),
    Key(
        "arguments.*",
        check.arguments(check.LONGEST_ARGUMENTS),
        (),
        "More kernel arguments for all images of an architecture.",
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
        "First line of the boot menu.",
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
        "The same for one architecture.",
    ),
    Key(
        "menu.languages",
        check.languages,
        ("en_US", "ru_RU"),
        "Languages that the menu switches between; systems start in the first.",
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
        "Hash of a user's password, as `openssl passwd -6` prints it.",
    ),
    Key(
        "menu.password.variants",
        check.some_of(*VARIANTS),
        ("install",),
        "What asks for a password, when there are users, besides iPXE's command line.",
    ),
    Key(
        "menu.extra.*.kernel",
        check.boot_url,
        None,
        "One more line of the menu, NAME is its title: boot this kernel (memtest, for example).",
    ),
    Key(
        "menu.extra.*.initrd",
        check.boot_url,
        None,
        "With this initial RAM disk.",
    ),
    Key(
        "menu.extra.*.arguments",
        check.arguments(check.LONGEST_ARGUMENTS),
        (),
        "With these kernel arguments.",
    ),
    Key(
        "menu.extra.*.chain",
        check.boot_url,
        None,
        "Or go on with this iPXE script or boot loader, on another server say.",
    ),
    Key(
        "menu.extra.*.script",
        check.script,
        None,
        "Or run these lines of iPXE script.",
    ),
    Key(
        "menu.extra.*.password",
        check.yes_or_no,
        False,
        "`true`: the line asks for a password.",
    ),
    Key(
        "menu.extra.*.arches",
        check.some_of(*ARCHES),
        ARCHES,
        "In the menus of these architectures.",
    ),
    Key(
        "hosts.*.mac",
        check.mac,
        None,
        "MAC address of the host, in quotes: `'52:54:00:12:34:56'` in any notation. Where none of "
        "`mac`, `uuid`, `serial`, `hostname`, `product` and `manufacturer` is given, NAME is the "
        "MAC address, the UUID or the host name.",
    ),
    Key(
        "hosts.*.uuid",
        check.uuid,
        None,
        "UUID of the host, as its firmware has it.",
    ),
    Key(
        "hosts.*.serial",
        check.smbios,
        None,
        "Serial number of the host, as its firmware has it.",
    ),
    Key(
        "hosts.*.hostname",
        check.host_name,
        None,
        "Host name, as the DHCP server gives it.",
    ),
    Key(
        "hosts.*.product",
        check.smbios,
        None,
        "Not one host, but all of this model, as their firmware has it (SMBIOS product). What a "
        "host of its own says wins. TF307-MB, TF307-MB-S-D and ET101-1.2 are there from the start.",
    ),
    Key(
        "hosts.*.manufacturer",
        check.smbios,
        None,
        "The same for all of a manufacturer.",
    ),
    Key(
        "hosts.*.group",
        check.text,
        None,
        "Name of a group below `groups`, whose settings the host takes over.",
    ),
    *(row._replace(path=f"hosts.*.{row.path}") for row in _HOST_SETTINGS),
    # A host has the defaults, once its group's settings are added.
    *(row._replace(path=f"groups.*.{row.path}", default=None) for row in _HOST_SETTINGS),
    Key(
        "dhcp.mode",
        check.one_of_or_off("proxy", "server"),
        "proxy",
        "`proxy`: boot information only, beside the DHCP server that the network has. "
        "`server`: addresses too, out of `subnets`. `off`: TFTP only; `netboot.dhcp_hints` prints "
        "what another DHCP server needs.",
    ),
    Key(
        "dhcp.clients_at_once",
        check.whole(1, 10000),
        200,
        "How many clients may be switched on at the same time (TFTP transfers).",
    ),
    Key(
        "dhcp.relayed",
        check.networks,
        None,
        "With `proxy`: list of subnets from which a relay forwards DHCP requests to this machine.",
    ),
    Key(
        "dhcp.subnets.*.range",
        check.addresses(2, 2),
        None,
        "With `server`: first and last address that clients get, `[192.0.2.100, 192.0.2.199]`; "
        "NAME is the subnet, `192.0.2.0/24`. Of this machine's own or of relayed ones.",
        required=True,
    ),
    Key(
        "dhcp.subnets.*.lease_s",
        check.whole(120, 2592000),
        3600,
        "Seconds for which a client may keep its address.",
    ),
    Key(
        "dhcp.subnets.*.router",
        check.address,
        None,
        "Default gateway. Default: none; relayed subnets need it.",
    ),
    Key(
        "dhcp.subnets.*.dns",
        check.addresses(1, 8),
        None,
        "List of DNS servers.",
    ),
    Key(
        "dhcp.subnets.*.domain",
        check.domain,
        None,
        "Domain of the clients.",
    ),
    Key(
        "dhcp.leases.*.address",
        check.address,
        None,
        "With `server`: the address of one client; NAME is its MAC address in quotes.",
        required=True,
    ),
    Key(
        "dhcp.leases.*.hostname",
        check.lease_name,
        None,
        "And its host name.",
    ),
    Key(
        "firmware.*.url",
        check.binary_url,
        None,
        "iPXE for a kind of firmware, in place of the platform's package: http, https, ftp or "
        "`file:///...`. NAME: bios, efi-x86_64, efi-i386, efi-aarch64, efi-riscv64 or "
        "efi-loongarch64.",
        required=True,
    ),
    *_digests("firmware.*"),
    Key(
        "secure_boot.*.shim.url",
        check.binary_url,
        None,
        "For machines with Secure Boot: a shim signed for their firmware; NAME is efi-x86_64 or "
        "efi-aarch64. Written by the facts of iPXE's own shim, and not booted in tests.",
        required=True,
    ),
    *_digests("secure_boot.*.shim"),
    Key(
        "secure_boot.*.ipxe.url",
        check.binary_url,
        None,
        "The iPXE that this shim starts.",
        required=True,
    ),
    *_digests("secure_boot.*.ipxe"),
    Key(
        "http.port",
        check.whole(1, 65535),
        80,
        "TCP port of the web server.",
    ),
    Key(
        "http.listen",
        check.addresses(1, 16),
        None,
        "List of this machine's addresses on which alone the web server listens. Default: all.",
    ),
    Key(
        "http.listing",
        check.one_of_or_off("json", "html"),
        "json",
        "`json`: folders below `/dist/` are listed for scripts. `html`: those and `/tftp/` for "
        "people. `off`: none.",
    ),
    Key(
        "http.certificate",
        check.file,
        None,
        "Serve the same files over HTTPS too: path of a file of yours on the server with the "
        "certificate, those of its issuers behind it (PEM). Menus stay on http, as iPXE does not "
        "know the certificate. After a renewal reload nginx.",
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
        "smb.smb1",
        check.yes_or_no,
        False,
        "Let Samba speak SMB1, which images of p9 and early p10 need for method cifs. Unsafe, and "
        "for all shares of the machine.",
    ),
    Key(
        "ftp.passive_ports",
        check.port_range,
        (50000, 50999),
        "First and last TCP port of FTP's data connections.",
    ),
    Key(
        "tftp.ports",
        check.port_range,
        (61000, 65535),
        "First and last UDP port of TFTP's transfers, at least as many as `dhcp:clients_at_once`.",
    ),
    Key(
        "nfs.clients",
        check.clients,
        None,
        "List of networks that may mount. Default: the networks of the interface.",
    ),
    Key(
        "admins.*.keys",
        check.public_keys,
        None,
        "List of public keys with which this account may log in by ssh; NAME is the account. It is "
        "made if there is none.",
        required=True,
    ),
    Key(
        "admins.*.sudo",
        check.yes_or_no,
        True,
        "Whether it may do everything by sudo, without a password. Only if it is made here.",
    ),
    Key(
        "firewall",
        check.one_of_or_off("auto"),
        "auto",
        "`auto`: firewalld or ufw, where it runs, lets through what is enabled here; for rules "
        "written by hand, those to add are told. `off`: nothing of ours is in a firewall.",
    ),
    Key(
        "schedule.hours",
        check.whole(1, 8760),
        None,
        "Apply these states every so many hours. Needs a running salt-minion. Default: off.",
    ),
    Key(
        "schedule.minutes",
        check.whole(1, 525600),
        None,
        "The same in minutes; one of the two.",
    ),
    Key(
        "schedule.splay_s",
        check.whole(0, 86400),
        600,
        "Each run starts up to so many seconds later, so that many servers do not start at once.",
    ),
    *(
        Key(f"platform.packages.{one}", check.names_of("packages"), None, f"Packages for {what}.")
        for one, what in (
            ("firmware", "iPXE. This and all below is known of ALT, Debian, Fedora and their kin"),
            ("dhcp", "DHCP and TFTP (dnsmasq)"),
            ("http", "the web server (nginx)"),
            ("smb", "the SMB server (Samba)"),
            ("ftp", "the FTP server (vsftpd)"),
            ("nfs", "the NFS server"),
            ("once", "Python"),
            ("selinux", "semanage, where SELinux is on"),
            ("admins", "sudo"),
        )
    ),
    Key(
        "platform.firmware.*",
        check.files,
        None,
        "Paths of iPXE for a kind of firmware, of which the first that is there is taken; NAME as "
        "of `firmware`.",
    ),
    *(
        Key(f"platform.{path}", of, None, meaning)
        for path, of, meaning in (
            ("dnsmasq.user", check.user_name, "User that dnsmasq runs as."),
            ("dnsmasq.group", check.user_name, "And group."),
            (
                "dnsmasq.silence",
                check.names_of("units"),
                "Units that its package starts by itself.",
            ),
            ("nginx.service", check.unit, "Unit of nginx."),
            ("nginx.group", check.user_name, "Group that nginx runs as."),
            ("nginx.folder", check.file, "Folder of `nginx.conf`."),
            ("nginx.site", check.file_below, "File for our site, below that folder."),
            ("nginx.once_log", check.file, "Log that nginx writes for hosts that boot once."),
            ("smb.service", check.unit, "Unit of Samba's smbd."),
            ("smb.config", check.file, "Samba's configuration."),
            ("smb.include", check.file, "File for our shares, which that includes."),
            ("ftp.user", check.user_name, "User of anonymous FTP."),
            (
                "ftp.silence",
                check.names_of("units"),
                "Units that vsftpd's package starts by itself.",
            ),
            ("nfs.service", check.unit, "Unit of the NFS server."),
            ("nfs.exports", check.file, "File for our exports."),
            (
                "nfs.control",
                check.names_of("facilities"),
                "ALT's control(8): what NFS needs as server.",
            ),
            ("admins.groups", check.names_of("groups"), "Groups of accounts that are made."),
        )
    ),
)

#: Names of architectures, as keys of a map.
ARCH = check.one_of(*ARCHES)

#: What the names in a map may be: path of the map with ``*``, check.
NAMES: dict[str, check.Check] = {
    "images.*": check.image_name,
    "default_image.*": ARCH,
    "default_variant.*": ARCH,
    "arguments.*": ARCH,
    "kernel_over.*": ARCH,
    "menu.arch_timeout_s.*": ARCH,
    "menu.password.users.*": check.user_name,
    "menu.extra.*": check.text,
    "admins.*": check.account,
    "hosts.*": check.key_of_host,
    "groups.*": check.text,
    "dhcp.subnets.*": check.subnet,
    "dhcp.leases.*": check.mac,
    "firmware.*": check.one_of(*FIRMWARE),
    "platform.firmware.*": check.one_of(*FIRMWARE),
    "secure_boot.*": check.one_of("efi-x86_64", "efi-aarch64"),
}
