"""
A client in Python: asks DHCP as each kind of firmware does, runs the menus that it gets, and reads
what each entry loads, by the entry's own method. It boots nothing, and is not counted as a client.

It runs on a netboot server or on another machine of its network, which needs no records: what
should come is in the plan, see ``netboot_plan.plan``.
"""

from __future__ import annotations

import hashlib
import re
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any, NamedTuple

import netboot_pxe
import probe_http
import probe_reach
from netboot_ipxe import OTHERS, Choice, Client, ScriptError, choices
from netboot_names import PROBE, VERSION, boot_file
from netboot_pxe import Identity, Offer
from probe_wire import NO_ANSWER, Unreachable

_SCRIPT_BYTES = 4 << 20
# What all scripts together may take.
_SCRIPTS_BYTES, _SCRIPTS_S = 64 << 20, 120
_LONGEST_TEXT = 400
_SECURE = {"efi/SecureBoot": "01"}
_TIMEOUT_S = 10.0
_AGENT = f"{PROBE}/{VERSION}"
# How much of a file that is compared whole is read at a time.
_CHUNK_BYTES = 16 << 20
# Up to this size samples of a file are read by TFTP, which sends all from the beginning on.
_TFTP_BYTES = 16 << 20
#: Whose key it is when a method does not work.
_KEYS = {"http": "netboot:http", "cifs": "netboot:smb", "nfs": "netboot:nfs", "ftp": "netboot:ftp"}
#: What no machine can see for another.
UNSEEN_FROM_HERE = (
    "what lies between this server and its clients: switches, cables, firewalls "
    "(--from ANOTHER_MACHINE looks from there)"
)
_PI, _PI_TEXT = b"RPi4", b"Raspberry Pi Boot"


class Wrong(NamedTuple):
    """
    Why clients with a kind of firmware cannot boot; without ``entry``: none of the entries;
    ``asked``: as what DHCP was asked.
    """

    firmware: str
    entry: str
    step: str
    cause: str
    key: str
    asked: str = ""


class Asked(NamedTuple):
    """
    A question, the kind of firmware that asks it (empty: none of ours), and the file that it should
    get: over HTTP it begins with ``/tftp/``; empty: that is not looked at.
    """

    identity: Identity
    kind: str
    file: str


def identities(firmware: list[dict[str, Any]], all_numbers: bool) -> list[Asked]:
    """
    Return what to ask DHCP as.

    firmware
        Rows of the configuration.

    all_numbers
        Whether to be each number of a kind of firmware, and an iPXE without what menus need; else
        the first number, over PXE and HTTP.
    """
    found = []
    for row in firmware:
        kind, file, menu = row["kind"], row["file"], f"config-{row['arch']}.ipxe"
        features = tuple(row["features"])
        for number in row["pxe"][: None if all_numbers else 1]:
            found.append(Asked(Identity(f"{kind} ({number})", number), kind, file))
            full = Identity(f"{kind} ({number}), iPXE", number, "PXE", features)
            found.append(Asked(full, kind, menu))
        if all_numbers and row["pxe"]:
            lacking = Identity(f"{kind}, iPXE without menus", row["pxe"][0], "PXE", features[:1])
            found.append(Asked(lacking, kind, file))
        for number in row["http"][: None if all_numbers else 1]:
            one = Identity(f"{kind}, HTTP boot ({number})", number, "HTTP")
            found.append(Asked(one, kind, f"/tftp/{row.get('http_file', file)}"))
        if all_numbers and kind == "bios":
            found.append(Asked(Identity("Raspberry Pi", 0, machine=_PI), kind, ""))
    if all_numbers:
        found.append(Asked(Identity("no boot ROM", None), "", ""))
    return found


def probe(
    plan: dict[str, Any], network: bool, all_numbers: bool = True, own: bool = True
) -> dict[str, Any]:
    """
    Return whether each kind of firmware can boot each entry.

    plan
        What should come, see ``netboot_plan.plan``.

    network
        Whether DHCP servers are asked, a question every two seconds.

    all_numbers : True
        See ``identities``.

    own : True
        Whether this machine is the netboot server.

    Returns a map: ``at`` (seconds since 1970), ``seconds``, ``good`` (pairs of firmware and entry),
    ``wrong`` (see ``Wrong``), ``foreign`` (what other servers do, a sentence each), ``others``
    (their addresses), ``offers`` (by identity) and ``unseen`` (what was not looked at).
    """
    began = time.monotonic()
    files = _Files(plan)
    found: dict[str, Any] = {"wrong": [], "good": [], "foreign": [], "others": [], "offers": {}}
    unseen = [UNSEEN_FROM_HERE] if own else []
    if network and plan["dhcp"] != "off":
        _dhcp(plan, identities(plan["firmware"], all_numbers), own, found, unseen)
    else:
        unseen.append("DHCP: nobody was asked")
    for row in plan["firmware"]:
        _firmware(plan, row, files, found)
    unseen += plan.get("untried", ())
    if files.unseen:
        unseen.append(
            "what comes by TFTP after the first 64 KiB of files larger than "
            f"{_TFTP_BYTES >> 20} MiB (--whole compares it)"
        )
    # Of a kind that gets no boot loader, no entry is good.
    stuck = {one.firmware for one in found["wrong"] if not one.entry}
    return {
        **found,
        "at": int(time.time()),
        "seconds": round(time.monotonic() - began, 1),
        "good": [pair for pair in found["good"] if pair[0] not in stuck],
        "wrong": [one._asdict() for one in dict.fromkeys(found["wrong"])],
        "unseen": unseen,
    }


# -- DHCP -----------------------------------------------------------------------------------------


def _dhcp(
    plan: dict[str, Any],
    wanted: list[Asked],
    own: bool,
    found: dict[str, Any],
    unseen: list[str],
) -> None:
    for interface in plan["interfaces"] if plan["firmware"] else ():
        name, address = interface["name"], interface["address"]
        try:
            offers = netboot_pxe.ask(name, [one.identity for one in wanted])
            here = own and address not in plan.get("at", {})
            taken = netboot_pxe.taken(name, address) if here else ""
        except OSError as err:
            unseen.append(f"DHCP on {name}: {err}")
            continue
        found["offers"][name] = {
            asked: [offer._asdict() for offer in said] for asked, said in offers.items() if said
        }
        for identity, kind, file in wanted:
            right = f"{interface['url']}{file}" if file.startswith("/") else file
            ours = [one for one in offers[identity.name] if _is_ours(one, address, own)]
            cause = _offered(ours, address, right) if kind else ""
            if cause:
                wrong = Wrong(kind, "", "DHCP", cause, "netboot:dhcp", identity.name)
                found["wrong"].append(wrong)
        if taken:
            found["foreign"].append(f"{taken} on {name} also has the address {address}.")
        others = [
            one for said in offers.values() for one in said if not _is_ours(one, address, own)
        ]
        _foreign(plan, name, others, found)
        if plan["dhcp"] == "proxy" and not any(
            one.address for said in offers.values() for one in said
        ):
            unseen.append(
                f"addresses: no DHCP server on {name} offers this machine one, which is right if "
                "those serve only machines that they know"
            )


def _is_ours(offer: Offer, address: str, own: bool) -> bool:
    """Return whether an offer is the server's; its address may be one that others have for it."""
    return offer.server == address or (own and not offer.mac)


def _offered(offers: list[Offer], server: str, right: str) -> str:
    """Return what is wrong with the offer of the server, or an empty string."""
    ours = [offer for offer in offers if offer.boots]
    if not ours:
        return "this server offers nothing"
    if not right:
        # A Raspberry Pi starts the boot server's program by this text alone.
        return "" if _PI_TEXT.hex() in ours[0].vendor else f"option 43 lacks {_PI_TEXT.decode()}"
    if ours[0].file != right:
        return f"it is offered {ours[0].file or 'no file'} instead of {right}"
    if ours[0].next_server != server:
        return f"it is sent to {ours[0].next_server} for {right}"
    return ""


def _foreign(plan: dict[str, Any], name: str, others: list[Offer], found: dict[str, Any]) -> None:
    by_server: dict[str, list[Offer]] = {}
    for offer in others:
        by_server.setdefault(offer.server, []).append(offer)
    for server, said in sorted(by_server.items()):
        at = f"{server} ({next((one.mac for one in said if one.mac), 'here')})"
        files = sorted({one.file or "a boot" for one in said if one.boots})
        where = f"on {name}"
        if files:
            found["others"].append(server)
            named = ", ".join(files[:3])
            found["foreign"].append(
                f"{at} {where} also offers a boot ({named}): clients may take that; switch it off "
                "there."
            )
        if plan["dhcp"] == "server" and any(one.address for one in said):
            found["foreign"].append(
                f"{at} {where} also gives addresses: switch it off, or set netboot:dhcp:mode to "
                "proxy."
            )


# -- what is fetched ------------------------------------------------------------------------------


class _Files:
    """Files as they come over the network; each is read once."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._files = plan["files"]
        self._scripts: dict[str, str | None] = {}
        self._script_bytes, self._script_s = 0, 0.0
        self._compared: dict[str, str] = {}
        self._at = plan.get("at", {})
        #: Whether more than was read would have come by TFTP.
        self.unseen = False
        # Who does not answer, or stops in the middle, and how: it is waited for once.
        self._silent: dict[str, Unreachable] = {}

    def sha256(self, path: str) -> str:
        """Return the digest on record of a file; empty: there is none."""
        return str((self._files.get(path) or {}).get("sha256", ""))

    def guard(self, url: str) -> str:
        """Return what is wrong with the file that passwords are tried on; asked once."""
        if url not in self._compared:
            parts = urllib.parse.urlsplit(url)
            host = parts.hostname or ""
            try:
                self._compared[url] = probe_http.guarded(
                    self._at.get(host, host), parts.path, _TIMEOUT_S, parts.port or 80, _AGENT
                )
            except Unreachable as err:
                self._compared[url] = str(err)
        return self._compared[url]

    def script(self, url: str) -> str | None:
        """Return the text of a script, or None when the server does not have it."""
        if url not in self._scripts:
            self._scripts[url] = self._script(url)
        return self._scripts[url]

    def _script(self, url: str) -> str | None:
        if self._script_bytes > _SCRIPTS_BYTES or self._script_s > _SCRIPTS_S:
            raise ScriptError(f"{url}: the menu has too many scripts")
        began = time.monotonic()
        try:
            _size, data = self._read(url, 0, _SCRIPT_BYTES)
        except Unreachable as err:
            if err.missing:
                return None
            raise ScriptError(f"{url}: {err}") from None
        finally:
            self._script_s += time.monotonic() - began
        self._script_bytes += len(data)
        return data.decode("utf-8", "replace")

    def wrong(self, url: str, path: str) -> str:
        """Return what is wrong with a file at an address, or an empty string."""
        if url not in self._compared:
            try:
                self._compared[url] = self._difference(url, path)
            except Unreachable as err:
                self._compared[url] = str(err)
        return self._compared[url]

    def _difference(self, url: str, path: str) -> str:
        if path not in self._files:
            self._read(url, 0, 1)  # another server's: only whether it is there
            return ""
        right = self._files[path]
        if right is None:
            return "it is not on the disk"
        if url.startswith("tftp://"):
            # All that is before a place comes, too.
            if right["bytes"] <= _TFTP_BYTES:
                return self._by_tftp(url, right)
            self.unseen = len(right["samples"]) > 1 or self.unseen
        for offset, length, digest in right["samples"]:
            if url.startswith("tftp://") and offset:
                continue
            hashed = hashlib.sha256()
            for at in range(offset, offset + length, _CHUNK_BYTES) or [0]:
                size, data = self._read(url, at, min(_CHUNK_BYTES, offset + length - at))
                if size not in (None, right["bytes"]):
                    return f"it has {size} bytes instead of {right['bytes']}"
                hashed.update(data)
            if hashed.hexdigest() != digest:
                return "other bytes come than are on record"
        return ""

    def _by_tftp(self, url: str, right: dict[str, Any]) -> str:
        size, data = self._read(url, 0, right["bytes"])
        if size not in (None, right["bytes"]):
            return f"it has {size} bytes instead of {right['bytes']}"
        same = all(
            hashlib.sha256(data[offset : offset + length]).hexdigest() == digest
            for offset, length, digest in right["samples"]
        )
        return "" if same else "other bytes come than are on record"

    def _read(self, url: str, offset: int, length: int) -> tuple[int | None, bytes]:
        service = "/".join(url.split("/", 3)[:3])
        if service in self._silent:
            raise self._silent[service]
        began = time.monotonic()
        try:
            at = re.sub(
                r"(?<=://)[^/:]+", lambda host: self._at.get(host[0], host[0]), url, count=1
            )
            size, (data,) = probe_reach.read(at, [(offset, length)], _TIMEOUT_S, agent=_AGENT)
        except Unreachable as err:
            if str(err).startswith(NO_ANSWER) or time.monotonic() - began >= _TIMEOUT_S:
                self._silent[service] = err
            raise
        return size, data


# -- boot loader, menu, entries -------------------------------------------------------------------


def _firmware(
    plan: dict[str, Any], row: dict[str, Any], files: _Files, found: dict[str, Any]
) -> None:
    kind = row["kind"]
    wrong = list(_loaders(plan, row, files))
    entries = {one["id"]: one for one in plan["entries"] if one["arch"] in row["boots"]}
    wrong += _menu(plan, row, entries, files)
    if row.get("secure") == "grub":
        wrong += _by_grub(plan, kind, entries, files)
    if kind == "bios":
        old = {name: one for name, one in entries.items() if one["arch"] == "i586"}
        wrong += _menu(plan, row, old, files, of_32_bits=True) if old else []
    found["wrong"] += wrong
    bad = {one.entry for one in wrong}
    found["good"] += [[kind, name] for name in entries if name not in bad]


def _loaders(plan: dict[str, Any], row: dict[str, Any], files: _Files) -> Iterator[Wrong]:
    """What keeps a kind of firmware from its boot loader, on each interface."""
    kind, menu = row["kind"], f"config-{row['arch']}.ipxe"
    # A shim starts a second one.
    names = [row["file"], *filter(None, (row.get("starts"), row.get("menu")))]
    servers = {plan["server"]: plan["url"]}
    more = {one["address"]: one["url"] for one in plan["interfaces"]}
    # Behind a NAT only its own address is known to lead here.
    servers.update(more if plan["server"] in more else {})
    for server, web in servers.items():
        urls = {f"tftp://{server}/./{name}": name for name in names if row["pxe"]}
        urls.update({f"{web}/tftp/{name}": name for name in names if row["http"]})
        if server != plan["server"] and row["pxe"]:
            urls[f"tftp://{server}/./{menu}"] = ""  # what it contains is looked at once
        for url, name in urls.items():
            if cause := files.wrong(url, f"/tftp/{name}" if name else ""):
                step, key = ("boot loader", f"firmware:{kind}") if name else ("menu", "menu")
                yield Wrong(kind, "", step, f"{shown(url)}: {cause}", f"netboot:{key}")


def _by_grub(
    plan: dict[str, Any], kind: str, entries: dict[str, dict[str, Any]], files: _Files
) -> Iterator[Wrong]:
    """What keeps an image's own GRUB from kernels and initrds, which it loads over TFTP."""
    for name, entry in entries.items():
        for what in ("kernel", "initrd"):
            path = entry[what]
            if not path.startswith("/tftp/"):
                continue  # not in its menu
            url = f"tftp://{plan['server']}/./{path[len('/tftp/') :]}"
            if cause := files.wrong(url, path):
                key = f"netboot:images:{entry['image']}"
                yield Wrong(kind, name, what, f"{shown(url)}: {cause}", key)
                break


def _menu(
    plan: dict[str, Any],
    row: dict[str, Any],
    entries: dict[str, dict[str, Any]],
    files: _Files,
    of_32_bits: bool = False,
) -> list[Wrong]:
    """What keeps entries of a menu from booting."""
    kind, step = row["kind"], "menu of a CPU without 64 bits" if of_32_bits else "menu"
    wrong, reached = [], set()
    try:
        for choice in _chosen(plan, row, files, entries, {"cpuid"} if of_32_bits else set()):
            if choice.label not in entries:
                continue  # a page that does not come; its entries are missing below
            reached.add(choice.label)
            if cause := _entry(plan, kind, entries[choice.label], choice, files):
                wrong.append(cause)
    except ScriptError as err:
        cannot = entries if of_32_bits else [""]
        return [Wrong(kind, name, step, shown(str(err)), "netboot:menu") for name in cannot]
    for name in sorted(set(entries) - reached):
        key = f"netboot:images:{entries[name]['image']}"
        wrong.append(Wrong(kind, name, step, "it is not in the menu", key))
    return wrong


def _chosen(
    plan: dict[str, Any],
    row: dict[str, Any],
    files: _Files,
    entries: dict[str, dict[str, Any]],
    refused: set[str],
) -> Iterator[Choice]:
    settings = {
        "platform": "pcbios" if row["kind"] == "bios" else "efi",
        "next-server": plan["server"],
        "version": "1.21.1",
        # Of no machine: what is tried is what a machine gets that nobody named.
        "mac": "00:00:00:00:00:00",
        "ip": plan["server"],
    }

    def make(chosen: list[str]) -> Client:
        entry = entries.get(chosen[-1].lstrip("!") if chosen else "", {})
        # Where a signed iPXE starts the menu, its entries are tried with Secure Boot.
        secure = row.get("secure") == "ipxe" and "shim" in entry
        loads = (entry[what] for what in ("kernel", "initrd") if entry)
        # As an iPXE does that can: what comes is compared with what is on record, see _entry.
        sums = {boot_file(path): files.sha256(path) for path in loads if files.sha256(path)}
        own = {**settings, **(_SECURE if secure else {})}
        return Client(files.script, own, (), chosen, refused, sums, waits=True, silent=OTHERS)

    url = f"tftp://{plan['server']}/./config-{row['arch']}.ipxe"
    return choices(make, url, lambda label: label.startswith("@") or label in entries)


def _entry(
    plan: dict[str, Any], kind: str, entry: dict[str, Any], choice: Choice, files: _Files
) -> Wrong | None:
    key = f"netboot:images:{entry['image']}"
    if choice.wrong or not choice.client.end.endswith(" boot"):
        cause = choice.wrong or f"the menu does not boot it ({choice.client.end or 'nothing'})"
        return Wrong(kind, entry["id"], "menu", shown(cause), key)
    if choice.asked and (cause := files.guard(f"{plan['url']}/private/granted")):
        cause = f"{plan['url']}/private/granted: {cause}"
        return Wrong(kind, entry["id"], "password", cause, "netboot:menu:password")
    kernel, _, cmdline = choice.client.kernel.partition(" ")
    kernel = kernel if "://" in kernel else ""
    loaded = [("kernel", kernel), ("initrd", choice.client.initrd)]
    loaded += [("shim", choice.client.shim)] if choice.client.shim else []
    for what, url in loaded:
        if cause := files.wrong(_marked(url), entry[what]):
            return Wrong(kind, entry["id"], what, f"{shown(url)}: {cause}", key)
    wants = re.search(r"\bhash=([0-9a-f]{64})\b", cmdline)
    # Of a stage in an ISO that is mounted nothing is on record here.
    if wants and (entry["form"] == "tree" or entry["method"] in ("http", "ftp")):
        if files.sha256(entry["stage"]) not in ("", wants[1]):
            cause = f"it has the digest {wants[1]} for {entry['stage']}, which is another file's"
            return Wrong(kind, entry["id"], "menu", cause, key)
    url, cause = stage_url(cmdline, entry, plan["root"])
    cause = cause or files.wrong(url, entry["stage"])
    if not cause:
        return None
    what = "ISO" if entry["form"] == "iso" else "stage"
    own = f"{shown(url)}: {cause}" if url else cause
    return Wrong(kind, entry["id"], what, own, _KEYS.get(entry["method"], key))


def stage_url(cmdline: str, entry: dict[str, Any], root: str) -> tuple[str, str]:
    """
    Return the address of an entry's stage or ISO as its command line names it, and what is wrong.

    cmdline
        The kernel's command line.

    entry, root
        The entry of the plan; the directory that is served.
    """
    match = re.search(r"\bautomatic=(\S+)", cmdline)
    told = dict(part.partition(":")[::2] for part in (match[1] if match else "").split(","))
    method, server, directory = (told.get(key, "") for key in ("method", "server", "directory"))
    if method != entry["method"] or not server:
        return "", f"the command line has method {method or 'none'} instead of {entry['method']}"
    if method == "nfs" and directory.startswith(root):
        directory = directory[len(root) :]
    stage = entry["stage"]
    if not f"{stage}/".startswith(f"{directory}/") or not directory:
        return "", f"the command line names {directory or 'nothing'}, but it is {stage}"
    if method == "nfs":
        # What is mounted is the directory of the ISO, or that of the stage.
        mounted = stage.rpartition("/")[0] if entry["form"] == "iso" else directory
        # altboot's mount.nfs begins with version 4, propagator's knows version 3 alone.
        version = "4" if "root=bootchain" in cmdline else ""
        return f"nfs{version}://{server}{root}{mounted}!{stage[len(mounted) :]}", ""
    scheme = {"cifs": "smb"}.get(method, method)
    return f"{scheme}://{server}{stage}", ""


def _marked(url: str) -> str:
    """Return an address with what marks the requests of this client in TFTP servers' logs."""
    return re.sub(r"^(tftp://[^/]+)/", r"\1/./", url)


def shown(url: str) -> str:
    """
    Return an address as people write it, on one line.

    url
        The address, or a text with one; it may come from the network.
    """
    plain = "".join(char if char.isprintable() else " " for char in url[:_LONGEST_TEXT])
    return plain.replace("/./", "/", 1).replace("!/", "/", 1)
