"""
The configuration of a machine: what a pillar without problems resolves to. Pure.
"""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Iterable
from typing import Any

import netboot_dhcp
import netboot_firmware
import netboot_hosts
import netboot_installs
import netboot_values
import netboot_window
from netboot_names import (
    ARCHES,
    OVERRIDES,
    SOURCES,
    VERSION,
    boot_file,
    image_file,
    label,
    server_url,
    words,
)
from netboot_paths import paths
from netboot_shapes import Config, Image, ImageRecord, Offer, Pillar, Proxy, Target


def build(pillar: Pillar, target: Target, platform: dict[str, Any], once: bool) -> Config:
    """
    Return the configuration.

    pillar
        The completed pillar (see ``netboot_values``), without problems.

    target
        What ``netboot.target`` returned.

    platform
        The row of this machine's system, with the pillar's overrides.

    once
        Whether any host boots something once.
    """
    platform = dict(platform)
    interface = netboot_dhcp.interfaces(pillar, target)[0]
    networks = [ipaddress.IPv4Interface(one) for one in target["interfaces"][interface]]
    address = ipaddress.IPv4Address(pillar.get("address") or networks[0].ip)
    mirrors = pillar.get("mirrors") or []
    order = pillar["fetch"]["from"]
    url = server_url(address, pillar["http"]["port"])
    here = {name: image for name, image in pillar["images"].items() if not _is_elsewhere(image)}
    elsewhere = {name: image for name, image in pillar["images"].items() if _is_elsewhere(image)}
    variant = netboot_values.default("default_variant.*")
    over = netboot_values.default("kernel_over.*")
    arguments = netboot_values.default("arguments.*")
    config: Any = {
        "version": VERSION,
        "interface": interface,
        "address": str(address),
        "network": str(netboot_dhcp.serving(interface, pillar, target).network[0]),
        "root": pillar["root"],
        "paths": paths(pillar["root"], target["state_dir"]),
        "http": _http(pillar["http"], address),
        **netboot_dhcp.config(pillar, target),
        **netboot_firmware.config(pillar, platform.pop("firmware")),
        "unsigned": netboot_firmware.unsigned(
            pillar, *netboot_hosts.unsigned(pillar["hosts"], pillar["groups"])
        ),
        "status": {"allow": _allowed(pillar, target)},
        "probe": pillar["probe"],
        "events": pillar["events"],
        "metrics": {"file": pillar["metrics"].get("file", "")},
        "menu": _menu(pillar["menu"]),
        "default_image": pillar["default_image"],
        "default_variant": {
            arch: pillar["default_variant"].get(arch, variant) for arch in pillar["default_image"]
        },
        "methods": pillar["methods"],
        "serves": _serves(pillar),
        "smb": {"smb1": pillar["smb"]["smb1"]},
        "ftp": {"passive_ports": pillar["ftp"]["passive_ports"]},
        "tftp": {"ports": pillar["tftp"]["ports"]},
        "admins": {
            name: {"keys": list(admin["keys"]), "sudo": admin["sudo"]}
            for name, admin in pillar["admins"].items()
        },
        "selinux": target["selinux"],
        "firewall": pillar["firewall"] or "off",
        "nfs": {
            "clients": pillar["nfs"].get("clients")
            or sorted({str(network.network) for network in networks})
        },
        "arguments": {arch: words(pillar["arguments"].get(arch, arguments)) for arch in ARCHES},
        "kernel_over": {arch: pillar["kernel_over"].get(arch, over) for arch in ARCHES},
        "arm_new": pillar["arm_new"],
        "arm_days": pillar["arm_days"],
        "answer_hours": pillar["answer_hours"],
        "arms": pillar["arms"] is True,
        "armed_by": str(pillar["arms"] or "").rstrip("/") if pillar["arms"] is not True else "",
        "waves": pillar["waves"],
        "window": netboot_window.resolved(pillar["window"]),
        "given": {"wave": pillar.get("wave", ""), "open": pillar["window"]["open"]},
        "prune": pillar["prune"],
        "clean_images": pillar["clean_images"],
        "schedule": pillar["schedule"] if set(pillar["schedule"]) - {"splay_s"} else {},
        "fetch": pillar["fetch"],
        "proxy": _proxy(pillar, target),
        "deltas": pillar["deltas"],
        "installs": {name: netboot_installs.build(one) for name, one in pillar["installs"].items()},
        "site": pillar["site"],
        "mirror": pillar["mirror"] or "off",
        "share_url": (pillar.get("share_url") or url).rstrip("/"),
        "images": [_image(name, image, mirrors, order) for name, image in here.items()],
        "elsewhere": [_elsewhere(name, image) for name, image in elsewhere.items()],
        # No *.log, which the platforms' logrotate would rotate: netboot-clients does.
        "clients_log": f"{posixpath.dirname(platform['nginx']['once_log'])}/netboot-clients.jsonl",
        "platform": platform,
        "once": once,
    }
    return config  # type: ignore[no-any-return]


def _proxy(pillar: Pillar, target: Target) -> Proxy:
    own = [ipaddress.IPv4Interface(one) for each in target["interfaces"].values() for one in each]
    near = sorted({str(one.network) for one in own if one.network.prefixlen < 32})
    url = str(pillar.get("proxy") or "")
    return {"url": url.rstrip("/"), "direct": near if url else []}


def _is_elsewhere(image: dict[str, Any]) -> bool:
    return bool(image["skip_iso_deploy"])


def _http(http: dict[str, Any], address: object) -> dict[str, Any]:
    return {
        "port": http["port"],
        "url": server_url(address, http["port"]),
        "listen": list(http.get("listen") or []),
        "listing": http["listing"] or "off",
        "certificate": http.get("certificate", ""),
        "key": http.get("key", ""),
        "https_port": http["https_port"],
        "clients_at_once": http.get("clients_at_once", 0),
    }


def _allowed(pillar: Pillar, target: Target) -> list[str]:
    """Return who may see the status page; nobody: there is none."""
    allow = pillar["status"].get("allow")
    if allow is None:
        names = netboot_dhcp.interfaces(pillar, target)
        allow = [str(netboot_dhcp.serving(name, pillar, target).network) for name in names]
    elif allow in ("off", False):
        allow = []
    return list(dict.fromkeys(allow))


def _serves(pillar: Pillar) -> list[str]:
    used = [image.get("methods") or pillar["methods"] for image in pillar["images"].values()]
    return sorted({method for methods in used for method in methods})


def _menu(menu: dict[str, Any]) -> dict[str, Any]:
    extra = [
        {
            "title": title,
            "arches": one["arches"],
            "arguments": words(one["arguments"]),
            "password": one["password"],
            **{key: one[key] for key in ("kernel", "initrd", "chain", "script") if key in one},
        }
        for title, one in menu["extra"].items()
    ]
    return {**menu, "extra": extra}


def sources(image: dict[str, Any], mirrors: list[str], order: Iterable[str]) -> list[str]:
    """
    Return the URLs of an ISO that the pillar names, in the order in which they are tried.

    image
        The image in the completed pillar.

    mirrors, order
        ``netboot:mirrors``, ``netboot:fetch:from``.
    """
    groups = {
        "mirrors": _nearer(image, mirrors),
        "upstream": [image["url"], *(image.get("mirrors") or [])],
    }
    return [url for word in order for url in groups.get(word, [])]


def _nearer(image: dict[str, Any], mirrors: list[str]) -> list[str]:
    return [f"{directory.rstrip('/')}/{image_file(image)}" for directory in mirrors]


def _image(name: str, image: dict[str, Any], mirrors: list[str], order: list[str]) -> Image:
    return {
        "name": name,
        "label": label(name),
        "file": image_file(image),
        "sources": sources(image, mirrors, order),
        "mirrors": _nearer(image, mirrors),
        "controller": sources(image, mirrors, SOURCES) if "controller" in order else [],
        "checksum": {kind: digest.lower() for kind, digest in image["checksum"].items()},
        "sums": image["sums"],
        "refresh": image["refresh"],
        "verify": image["verify"],
        # Paths as an ISO has them, as they become parts of URLs, and of paths here.
        "overrides": {
            key: posixpath.normpath(image[key]).strip("/")
            for key in OVERRIDES.values()
            if key in image
        },
        "offer": _offer(image),
        "unpack": image.get("unpack", ""),
        "mount": image["mount"],
        "keep_iso": image["keep_iso"],
    }


def _offer(image: dict[str, Any]) -> Offer:
    offer: Any = {key: image[key] for key in Offer.__annotations__ if key in image}
    offer["arguments"] = words(image["arguments"])
    return offer  # type: ignore[no-any-return]


def _elsewhere(name: str, image: dict[str, Any]) -> ImageRecord:
    """Return the record that inspecting the ISO of another server's image would give."""
    initrd = boot_file(image["initrd_url"])
    # Only propagator was ever named full.cz (mkimage-profiles, 2021-03-23).
    dialect = image.get("dialect") or ("propagator" if initrd == "full.cz" else "altboot")
    stages: Any = {
        stage: {"path": stage, "size": size, "ramdisk_size": size // 1024 + 1}
        for stage, size in (
            ("live", image.get("live_size")),
            ("altinst", image.get("altinst_size")),
        )
        if size
    }
    installer: Any = None
    if "altinst" in stages:
        installer = {"stage": "altinst", "argument": ""}
    elif dialect == "altboot":
        installer = {"stage": "live", "argument": "systemd.unit=install2.target"}
    return {
        "name": name,
        "label": label(name),
        "file": image["stage2_http_url"].rpartition("/")[2],
        "iso_sha256": None,
        "offer": _offer(image),
        "facts": {
            "arch": image["alt_arch"],
            "dialect": dialect,
            "kernel": boot_file(image["kernel_url"]),
            "initrd": initrd,
            "stages": stages,
            "livecd": {"stage": "live", "argument": ""} if "live" in stages else None,
            "installer": installer,
            "rescue": None,
            "http_iso": image["http_iso_boot"],
        },
    }
