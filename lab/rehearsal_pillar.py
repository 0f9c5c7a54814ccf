"""A user's pillar as the lab can apply it: what differs there, and nothing else. Pure."""

import copy
import re
from typing import NamedTuple
from urllib.parse import urlsplit

#: Keys that only mean something on the user's server, and why they are left out.
LEFT_OUT = {
    "interface": "the lab's machine has one",
    "address": "the lab's machine has its own",
    "virtual_address": "the lab's machine has its own",
    "mirrors": "ISOs come from this machine",
    "fetch.from": "ISOs come from this machine",
    "proxy": "ISOs come from this machine",
    "site": "the lab has one server",
    "mirror": "the lab has one server",
    "share_url": "the lab has one server",
    "waves": "a rehearsal applies once",
    "window": "a rehearsal applies once",
    "http.listen": "the lab's machine has other addresses",
    "http.certificate": "the file is on your server",
    "http.key": "the file is on your server",
    "http.https_port": "it needs the certificate",
    "dhcp.relayed": "nothing relays in the lab",
    "dhcp.leases": "they are of your network",
    "nfs.clients": "they are of your network",
    "arms": "the lab has no other server",
    "metrics": "node_exporter is on your server",
    "events": "the lab's machine is not a minion",
    "schedule": "a rehearsal applies once",
    "platform": "the lab's machine is a Debian",
}
#: Shorter ones end before somebody, on an emulated processor, has gone down the menu.
SHORTEST_S = 20
USER, PASSWORD = "rehearse", "rehearsal"  # noqa: S105 (of a menu that only the lab sees)
# `openssl passwd -6` of it
HASH = (
    "$6$rehearse$9BhMe4VS/VATQPW/io9Xw8xbejqjgoFaZ9UU5cuirMmI9ooEt.IoUSTx2fuB6L1wCD49aKrGDJJrYHxei"
    "IE7g1"
)

# Generations of lab/iso by what their file names say, the first that fits.
_GENERATIONS = (
    (r"sisyphus|regular", (("20230710", "sisyphus-2022"), ("", "sisyphus"))),
    (r"\bp?8(\.\d)?\b", (("", "p8"),)),
    (r"\b9\.2\b", (("", "p9-server"),)),
    (r"\bp9\b.*\b202[2-9]", (("", "p9-2022"),)),
    (r"\bp?9(\.\d)?\b", (("", "p9"),)),
    (r"\b10\.0\b", (("", "p10.0"),)),
    (r"\b10\.[12]\b", (("", "p10.1"),)),
    (r"\b10\.\d\b", (("", "p10.4"),)),
    (
        r"\bp?10\b",
        (
            ("20210908", "p10-2021-08"),
            ("20210922", "p10-2021-09"),
            ("20220800", "p10.0"),
            ("20230310", "p10.1"),
            ("", "p10.4"),
        ),
    ),
    (r"\bp11\b.*\b2024", (("", "p11-2024"),)),
)
_ARCHES = ("x86_64", "i586", "aarch64", "riscv64", "loongarch64")


class Iso(NamedTuple):
    """Where the lab has an image's ISO from; sha256: None to keep the pillar's checksums."""

    url: str
    sha256: str | None
    how: str


class Fitted(NamedTuple):
    """The lab's pillar, what was changed (a line each), whether the netboot server is the DHCP
    server."""

    pillar: dict
    changes: list
    gives_addresses: bool


def images_of(pillar):
    """The images of a pillar by name, those of a list too; what is no image is left out."""
    images = pillar.get("images")
    if isinstance(images, list):
        named = [(one.get("name"), one) for one in images if isinstance(one, dict)]
    else:
        named = list(images.items()) if isinstance(images, dict) else []
    return {name: one for name, one in named if isinstance(name, str) and isinstance(one, dict)}


def arch_of(name, image):
    """The architecture that an image is of, as far as its words tell."""
    said = image.get("alt_arch") or image.get("grub_arch")
    words = f"{name} {image.get('url', '')} {image.get('file', '')}"
    return said or next((arch for arch in _ARCHES if arch in words), "x86_64")


def generation_of(name, image):
    """The generation of lab/iso whose layout an image has, as far as its words tell."""
    words = f"{urlsplit(str(image.get('url', ''))).path.rpartition('/')[2]} {name}".lower()
    date = (re.search(r"20[12]\d[01]\d[0-3]\d", words) or [""])[0]
    words = re.sub(r"[_-]", " ", words)
    for pattern, rows in _GENERATIONS:
        if re.search(pattern, words):
            return next((made for until, made in rows if date and date < until), rows[-1][1])
    return "p11"


def methods_of(pillar):
    """All methods by which clients of a pillar fetch stages."""
    offers = [pillar, *images_of(pillar).values()]
    lists = [offer.get("methods") for offer in offers]
    return {method for one in lists if isinstance(one, list) for method in one} or {"http"}


def needs_kernel(pillar):
    """Whether the netboot server must have a kernel of its own: for NFS, loop mounts, vsftpd."""
    mounts = any(image.get("mount") is True for image in images_of(pillar).values())
    return mounts or bool(methods_of(pillar) & {"nfs", "ftp"})


def fitted(pillar, prefix, isos, loaders):
    """Return the Fitted of the pillar below ``netboot``.

    prefix: the first three bytes of the lab's network; isos: an Iso by image; loaders: a URL and
    SHA-256 (or None) by key, such as "firmware.efi-aarch64", of the boot loaders that the lab has.
    """
    made, changes = copy.deepcopy(pillar), []
    for path, why in LEFT_OUT.items():
        folder, key = _folder(made, path)
        if key in folder and not (path == "arms" and isinstance(folder[key], bool)):
            del folder[key]
            changes.append(f"{_key(path)}: left out, {why}")
    _fit_images(made, isos, changes)
    _fit_loaders(made, loaders, changes)
    _fit_menu(made, changes)
    gives = _fit_dhcp(made, prefix, changes)
    return Fitted(made, changes, gives)


def _key(path):
    return f"netboot:{path.replace('.', ':')}"


def _folder(pillar, path):
    """The map that has the key of a path, and the key; an empty map if it is not there."""
    *folders, key = path.split(".")
    for name in folders:
        pillar = pillar.get(name)
        if not isinstance(pillar, dict):
            return {}, key
    return pillar, key


def _fit_images(made, isos, changes):
    for name, image in images_of(made).items():
        path = f"netboot:images:{name}"
        if image.get("skip_iso_deploy") is True:
            changes.append(f"{path}: left out, it is on another server")
            continue
        iso = isos.get(name)
        if not iso:
            continue
        image["url"] = iso.url
        given = {key for key in ("mirrors", "sums", "refresh") if image.pop(key, None)}
        also = f", without {', '.join(sorted(given))}" if given else ""
        if iso.sha256 and (iso.sha256 != image.get("checksum", {}).get("sha256") or given):
            image["checksum"] = {"sha256": iso.sha256}
        changes.append(f"{path}: {iso.how}{also}")
    gone = {name for name, image in images_of(made).items() if image.get("skip_iso_deploy") is True}
    if isinstance(made.get("images"), list):
        made["images"] = [one for one in made["images"] if one.get("name") not in gone]
    elif gone:
        made["images"] = {key: one for key, one in made["images"].items() if key not in gone}
    _forget(made, gone, changes)


def _forget(made, gone, changes):
    """Take out what names an image that is left out: defaults, hosts, groups."""
    defaults = made.get("default_image")
    if isinstance(defaults, dict):
        made["default_image"] = {k: name for k, name in defaults.items() if name not in gone}
    secure = made.get("secure_boot")
    for kind in list(secure) if isinstance(secure, dict) else ():
        if isinstance(secure[kind], dict) and secure[kind].get("image") in gone:
            del secure[kind]
            changes.append(f"netboot:secure_boot:{kind}: left out, its image is on another server")
    for kind in ("groups", "hosts"):
        named = made.get(kind)
        for name in list(named) if isinstance(named, dict) else ():
            if isinstance(named[name], dict) and named[name].get("image") in gone:
                del named[name]["image"]
                named[name].pop("variant", None)
                named[name].pop("once", None)
                changes.append(f"netboot:{kind}:{name}:image: left out, it is on another server")


def _fit_loaders(made, loaders, changes):
    for folder, parts in (("firmware", [""]), ("secure_boot", ["shim", "ipxe"])):
        found = made.get(folder)
        for kind in list(found) if isinstance(found, dict) else ():
            if folder == "secure_boot" and "image" in found[kind]:
                continue  # out of an ISO
            paths = [f"{folder}.{kind}{'.' * bool(part)}{part}" for part in parts]
            if all(path in loaders for path in paths):
                for path in paths:
                    where, key = _folder(made, path)
                    where[key]["url"] = loaders[path][0]
                continue
            del found[kind]
            changes.append(
                f"{_key(paths[0])}: left out, its file is not on this machine"
                + ("; Secure Boot is not rehearsed" if folder == "secure_boot" else "")
            )
    for path, (url, sha256) in loaders.items():
        folder, _, kind = path.partition(".")
        if folder == "firmware" and sha256 and kind not in made.get("firmware", {}):
            made.setdefault("firmware", {})[kind] = {"url": url, "checksum": {"sha256": sha256}}
            changes.append(f"{_key(path)}: iPXE of Debian 13, the lab's machine has none")


def _fit_menu(made, changes):
    menu = made.get("menu")
    if not isinstance(menu, dict):
        return
    timeouts = [(menu, "timeout_s", "netboot:menu")]
    arches = menu.get("arch_timeout_s")
    if isinstance(arches, dict):
        timeouts += [(arches, arch, "netboot:menu:arch_timeout_s") for arch in arches]
    for folder, key, path in timeouts:
        if isinstance(folder.get(key), int) and 0 < folder[key] < SHORTEST_S:
            folder[key] = SHORTEST_S
            changes.append(f"{path}:{key}: {SHORTEST_S}, so that there is time for the keys")
    password = menu.get("password")
    if isinstance(password, dict) and isinstance(password.get("users"), dict):
        password["users"][USER] = HASH
        changes.append(f"netboot:menu:password:users:{USER}: added, as hashes tell no password")


def _fit_dhcp(made, prefix, changes):
    dhcp = made.get("dhcp")
    mode = dhcp.get("mode") if isinstance(dhcp, dict) else None
    if mode == "server":
        subnet = {"range": [f"{prefix}.100", f"{prefix}.254"], "router": f"{prefix}.1"}
        dhcp["subnets"] = {f"{prefix}.0/24": subnet}
        changes.append(f"netboot:dhcp:subnets: {prefix}.0/24, the lab's network")
        return True
    if isinstance(dhcp, dict) and dhcp.pop("subnets", None):
        changes.append("netboot:dhcp:subnets: left out, they are of your network")
    if mode is False or mode == "off":
        dhcp["mode"] = "proxy"
        changes.append("netboot:dhcp:mode: proxy, as the lab has none of your DHCP servers")
    return False
