"""Deliberate faults in what clients get, each with the cheapest tests that must turn red."""

from typing import NamedTuple

MENU = "salt/netboot/files/menu.ipxe.jinja"
DNSMASQ = "salt/netboot/files/dnsmasq.conf.jinja"
NGINX = "salt/netboot/files/nginx.conf.jinja"
ENTRIES = "salt/_utils/netboot_entries.py"
FIRMWARE = "salt/_utils/netboot_firmware.py"
SCRIPTS = "salt/_utils/netboot_host_scripts.py"
FACTS = "salt/_utils/iso_facts.py"
SHARES = "salt/_utils/netboot_shares.py"
PORTS = "salt/_utils/netboot_ports.py"
IN_MENUS = "tests/unit/test_netboot_menus.py"
IN_ENTRIES = "tests/unit/test_netboot_entries.py"
IN_DHCP = "tests/unit/test_netboot_dhcp.py"
BY_PACKETS = "tests/integration/test_dhcp.py::test_proxy"
IN_HOSTS = "tests/unit/test_netboot_hosts.py"
IN_FACTS = "tests/unit/test_iso_facts.py"
IN_SHARES = "tests/unit/test_netboot_shares.py"
IN_IMAGES = "tests/functional/test_images.py"
INSTALLING = "salt/_utils/netboot_installing.py"
IN_INSTALLING = "tests/unit/test_netboot_installing.py"
IN_ANSWERS = "tests/unit/test_netboot_answers.py"
MINIONS = "salt/_runners/netboot_minions.py"
IN_MINIONS = "tests/unit/test_netboot_minions.py"
SIGNATURES = "salt/_utils/netboot_signatures.py"
IN_SIGNATURES = "tests/functional/test_signatures.py"
OF_ISO = "salt/_utils/iso_secure_boot.py"
IN_ISO = "tests/functional/test_iso_secure_boot.py"
GRUB = "salt/_utils/netboot_grub.py"
IN_GRUB = "tests/unit/test_netboot_grub.py"
GRUB_MENU = "salt/netboot/files/grub.cfg.jinja"
ONCE = "salt/netboot/files/netboot-once"
BY_GRUB = "tests/functional/test_once_grub.py"
BY_SCRIPTS = "tests/functional/test_install_scripts.py"
BY_REQUESTS = "tests/integration/test_http.py::test_steps_of_clients_are_on_record"

PRESS = "prompt --timeout 10000 ${nb-text-press} ... && goto menu"


class Fault(NamedTuple):
    """What is wrong; in `file` the text `old` stands once and becomes `new`; where it is seen."""

    what: str
    file: str
    old: str
    new: str
    seen_by: str


FAULTS = [
    # -- menus
    Fault("kernel as initrd", MENU, "}}{{ entry.initrd }}", "}}{{ entry.kernel }}", IN_MENUS),
    Fault(
        "no command line",
        MENU,
        "{{ entry.kernel }} {{ entry.cmdline }}",
        "{{ entry.kernel }}",
        IN_MENUS,
    ),
    Fault("second disk of a BIOS", MENU, "--drive 0x80", "--drive 0x81", IN_MENUS),
    Fault("UEFI ends well, not with its disk", MENU, "\nexit 1\n", "\nexit 0\n", IN_MENUS),
    Fault("bit of long mode", MENU, "cpuid --ext 29", "cpuid --ext 28", IN_MENUS),
    Fault(
        "swapped arch",
        MENU,
        "config-i586.ipxe || goto local",
        "config-x86_64.ipxe || goto local",
        IN_MENUS,
    ),
    Fault("MAC with colons", MENU, "'mac-${mac:hexraw}'", "'mac-${mac}'", IN_MENUS),
    Fault(
        "time-out in milliseconds", MENU, "menu.timeout_s) * 1000", "menu.timeout_s) * 1", IN_MENUS
    ),
    Fault("model with spaces in a URL", MENU, "}:uristring}.ipxe", "}}.ipxe", IN_MENUS),
    Fault(
        "other digests are booted", MENU, "-sum} || goto wrong", "-sum} || goto loaded", IN_MENUS
    ),
    Fault(
        "wrong passwords boot",
        MENU,
        "granted || goto refused",
        "granted || goto ${nb-wanted}",
        IN_MENUS,
    ),
    Fault("nobody waits for a turn", MENU, "isset ${nb-turn} && goto", "goto", IN_MENUS),
    Fault(
        "no word for failures",
        MENU,
        "{{ report('failed&x=${errno:hexraw}&n=${nb-at}') -}}",
        "",
        IN_MENUS,
    ),
    Fault(
        "a failure leaves the menu",
        MENU,
        f"clear nb-loaded ||\n{PRESS} || goto local",
        f"clear nb-loaded ||\n{PRESS}",
        IN_MENUS,
    ),
    # -- entries
    Fault("a missing word", ENTRIES, '"changedisk fastboot"', '"fastboot"', IN_ENTRIES),
    Fault(
        "no root=bootchain",
        ENTRIES,
        "fastboot root=bootchain bootchain",
        "fastboot bootchain",
        IN_ENTRIES,
    ),
    Fault(
        "propagator without network",
        ENTRIES,
        '("http", "propagator", "tree", "ram", "network:dhcp"',
        '("http", "propagator", "tree", "ram", ""',
        IN_ENTRIES,
    ),
    Fault(
        "whole ISO taken for a tree",
        ENTRIES,
        '("http", "altboot", "iso", "ram", "type:iso"',
        '("http", "altboot", "iso", "ram", ""',
        IN_ENTRIES,
    ),
    Fault("stage under another name", ENTRIES, 'f"stagename={', 'f"stage={', IN_ENTRIES),
    Fault(
        "mounts that are copied",
        ENTRIES,
        '"lowmem" if row["over"] == "mount" else ram',
        "ram",
        IN_ENTRIES,
    ),
    Fault(
        "NFS without the root",
        ENTRIES,
        'directory = config["root"] + directory',
        "pass",
        IN_ENTRIES,
    ),
    Fault("too little memory", ENTRIES, "RESERVE_MIB = 512", "RESERVE_MIB = 0", IN_ENTRIES),
    Fault(
        "digest of the ISO for a stage",
        ENTRIES,
        '"stage": image["facts"].get("sha256", {}).get(stage)',
        '"stage": image["iso_sha256"]',
        IN_ENTRIES,
    ),
    Fault(
        "another card",
        "salt/_utils/netboot_names.py",
        "bootif0:${netX/mac}",
        "bootif0:${net0/mac}",
        IN_MENUS,
    ),
    Fault(
        "livecd needs the whole ISO",
        ENTRIES,
        '"livecd": ("tree",)',
        '"livecd": ("iso",)',
        IN_ENTRIES,
    ),
    # -- firmware, DHCP
    Fault("number of arm64", FIRMWARE, '"aarch64", [11, 22]', '"aarch64", [12, 22]', BY_PACKETS),
    Fault("32 and 64 bits swapped", FIRMWARE, '"x86_64", [7, 9]', '"x86_64", [6, 9]', BY_PACKETS),
    Fault(
        "no i586 on a BIOS", FIRMWARE, '"boots": ["x86_64", "i586"]', '"boots": ["x86_64"]', IN_DHCP
    ),
    Fault("a feature less", FIRMWARE, "[_HTTP, _MENU, _BZIMAGE]", "[_HTTP, _BZIMAGE]", BY_PACKETS),
    Fault("DNS too", DNSMASQ, "port=0\n", "port=53\n", IN_DHCP),
    Fault(
        "UEFI is answered as a BIOS",
        DNSMASQ,
        "or one.kind == 'bios' %}",
        "or one.kind %}",
        IN_DHCP,
    ),
    Fault(
        "HTTP boot is not recognized",
        DNSMASQ,
        "dhcp-pxe-vendor=PXEClient,HTTPClient\n",
        "",
        BY_PACKETS,
    ),
    Fault("others are answered", DNSMASQ, "dhcp-ignore=tag:!known", "", f"{BY_PACKETS}_is_silent"),
    # -- hosts
    Fault(
        "hosts go to the menu",
        SCRIPTS,
        'values["nb-straight"] = "1"',
        'values["nb-straigth"] = "1"',
        IN_HOSTS,
    ),
    Fault(
        "once is for ever", SCRIPTS, '\n    if settings.get("once"):', "\n    if False:", IN_HOSTS
    ),
    # -- ISOs
    Fault(
        "another arch in an ISO",
        FACTS,
        '"bootaa64.efi": "aarch64"',
        '"bootaa64.efi": "x86_64"',
        IN_FACTS,
    ),
    Fault(
        "another word for rescue",
        FACTS,
        '"systemd.unit=live-rescue.target"',
        '"systemd.unit=rescue.target"',
        IN_FACTS,
    ),
    Fault(
        "date of whole ISOs", FACTS, '"altboot": "2023-07-11"', '"altboot": "2025-07-11"', IN_FACTS
    ),
    # -- files, exports, the web server
    Fault(
        "a file mode",
        "salt/_utils/iso9660.py",
        "FILE_MODE = 0o644",
        "FILE_MODE = 0o600",
        "tests/functional/test_iso9660.py",
    ),
    Fault(
        "a directory mode",
        "salt/_utils/iso9660.py",
        "DIRECTORY_MODE = 0o755",
        "DIRECTORY_MODE = 0o700",
        IN_IMAGES,
    ),
    Fault("guests are kept out", SHARES, "    guest ok = yes", "    guest ok = no", IN_SHARES),
    Fault(
        "NFS for writing", SHARES, 'common = "ro,all_squash', 'common = "rw,all_squash', IN_SHARES
    ),
    Fault(
        "a mount like a directory",
        SHARES,
        ",no_subtree_check,mountpoint",
        ",subtree_check",
        IN_SHARES,
    ),
    Fault(
        "a wrong port",
        PORTS,
        '("udp", 4011, "PXE"',
        '("udp", 4012, "PXE"',
        "tests/functional/test_ports.py",
    ),
    Fault(
        "a wrong directory",
        "salt/_utils/netboot_paths.py",
        '"trees": f"{root}/tftp/netboot"',
        '"trees": f"{root}/netboot"',
        IN_ENTRIES,
    ),
    # -- unattended installs
    Fault(
        "the medium's own profile",
        "salt/_utils/netboot_answers.py",
        "profile = f\"nb-{machine['token']}\"",
        'profile = "workstation"',
        IN_ANSWERS,
    ),
    Fault(
        "other disks stay in sight",
        "salt/_utils/netboot_install_disks.py",
        '[ "$name" = "$chosen" ] || hide "$name"',
        ":",
        BY_SCRIPTS,
    ),
    Fault(
        "a disk with data counts as empty",
        "salt/_utils/netboot_install_disks.py",
        'zeros "$1" 0 &&',
        "true &&",
        BY_SCRIPTS,
    ),
    Fault(
        "a key for everybody",
        "salt/_utils/netboot_install_scripts.py",
        '"0400", given["pem"]',
        '"0644", given["pem"]',
        BY_SCRIPTS,
    ),
    Fault(
        "answers of another machine",
        INSTALLING,
        'one["done_at"] or (own and mac and mac not in own)',
        'one["done_at"]',
        IN_INSTALLING,
    ),
    Fault(
        "answers that stay",
        INSTALLING,
        'if _ends(step) and not one["done_at"]:',
        "if False:",
        IN_INSTALLING,
    ),
    Fault(
        "a minion that nobody hears of",
        INSTALLING,
        ' or known in one["addresses"].values()',
        "",
        IN_INSTALLING,
    ),
    Fault(
        "a time-out that wipes",
        MENU,
        "set nb-default local ||",
        "set nb-default ${nb-entry} ||",
        IN_HOSTS,
    ),
    Fault(
        "installer without answers",
        MENU,
        "isset ${nb-answers} && goto answers ||",
        "isset ${nb-answers} ||",
        IN_HOSTS,
    ),
    Fault("answers for any entry", MENU, "|| clear nb-answers ||", "|| echo ||", IN_HOSTS),
    Fault(
        "answers without a length",
        NGINX,
        'default_type text/plain;\n        return 200 "";',
        "return 204;",
        BY_REQUESTS,
    ),
    # -- keys of minions on a master
    Fault(
        "another server's host",
        MINIONS,
        "if id_ not in _minions(pillar, installed=True):",
        "if False:",
        IN_MINIONS,
    ),
    Fault(
        "a host of two servers",
        MINIONS,
        "if other not in (id_, netboot) and id_ in _minions(theirs):",
        "if False:",
        IN_MINIONS,
    ),
    Fault(
        "a netboot server's key",
        MINIONS,
        "pattern.lower()) for pattern in patterns",
        "pattern.lower()) for pattern in []",
        IN_MINIONS,
    ),
    Fault(
        "the key of the master's minion",
        MINIONS,
        "in {one.lower() for one in own}",
        "in set()",
        IN_MINIONS,
    ),
    Fault("an id with a slash", MINIONS, '_NAME = r"', '_NAME = r".*|', IN_MINIONS),
    Fault("a weak key", MINIONS, "2048 <= modulus", "1024 <= modulus", IN_MINIONS),
    Fault(
        "a key that only an event has",
        MINIONS,
        'if _rsa_key(found.get("pub")) == key:',
        "if True:",
        IN_MINIONS,
    ),
    Fault("mines of anybody", MINIONS, "if not _verifies_senders():", "if False:", IN_MINIONS),
    Fault(
        "what an admin rejected",
        MINIONS,
        'if "minions_rejected" in there:',
        "if False:",
        IN_MINIONS,
    ),
    Fault(
        "a stranger's key that waits",
        MINIONS,
        'if "minions_pre" in there and not',
        "if False and not",
        IN_MINIONS,
    ),
    Fault("a key for ever", MINIONS, "if age_s >= hours * 3600:", "if False:", IN_MINIONS),
    Fault(
        "cut off before the install",
        MINIONS,
        'return "replace" if installed else',
        'return "replace" if True else',
        IN_MINIONS,
    ),
    Fault(
        "cut off while it runs",
        MINIONS,
        'if _answers(id_) else "accept"',
        'if False else "accept"',
        IN_MINIONS,
    ),
    Fault(
        "a key by its name alone",
        SIGNATURES,
        "return issuer.subject == one.issued_by and same_key",
        "return issuer.subject == one.issued_by",
        IN_SIGNATURES,
    ),
    Fault(
        "Microsoft by its name alone",
        SIGNATURES,
        'one.issuer_key in ("", key)',
        "one.issuer_key is not None",
        IN_SIGNATURES,
    ),
    Fault(
        "a program that was changed",
        SIGNATURES,
        "return digests[algorithm] == digest[1].content.hex(), content",
        "return True, content",
        IN_SIGNATURES,
    ),
    Fault(
        "a program that its shim withdrew",
        SIGNATURES,
        "    if refuses(shim, signed):",
        "    if False:",
        IN_SIGNATURES,
    ),
    Fault("a shim in the El Torito image", OF_ISO, "if not found[0].grub:", "if False:", IN_ISO),
    Fault(
        "who signed the kernel",
        OF_ISO,
        'return "" if netboot_signatures.accepts(shim, kernel) else',
        'return "" if True else',
        IN_ISO,
    ),
    Fault(
        "what the apply says of signatures",
        "salt/_states/netboot_tftp.py",
        "state.warn(*netboot_secure_boot.warnings(records))",
        "pass",
        "tests/functional/test_secure_boot.py",
    ),
    # -- the menu of an image's own GRUB
    Fault(
        "quotes of GRUB",
        GRUB,
        """return "'" + plain.replace("'", "'\\\\''") + "'\"""",
        """return "'" + plain + "'\"""",
        IN_GRUB,
    ),
    Fault(
        "a kernel that Secure Boot refuses",
        GRUB_MENU,
        '"$lockdown" = y',
        '"$lockdown" = n',
        IN_GRUB,
    ),
    Fault(
        "the disk of what starts there", GRUB_MENU, "--file --set=root", "--file --set=nb", IN_GRUB
    ),
    Fault("a host's own file", GRUB, "01-{'-'.join(", "01-{':'.join(", IN_GRUB),
    Fault(
        "an entry that asks for a password",
        GRUB,
        'if entry["password"]:',
        "if False:",
        IN_GRUB,
    ),
    Fault(
        "GRUB's script of a host that has booted",
        ONCE,
        "return [*grub, os.path.join(",
        "return [os.path.join(",
        BY_GRUB,
    ),
    Fault(
        "who read GRUB's script",
        ONCE,
        ".get((key, address), -1)",
        ".get((key, address), 1e12)",
        BY_GRUB,
    ),
]
