"""
Looks of ``netboot.doctor`` at services: programs, units, configuration, limits, secrets.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator

import netboot_files
import netboot_findings
import netboot_images
import netboot_live
import netboot_looks
import netboot_run
import netboot_sockets
from netboot_looks import Case
from netboot_shapes import Finding

# By the key of a platform's packages: program, and method that needs it (empty: any).
_PROGRAMS = {
    "dhcp": ("dnsmasq", ""),
    "smb": ("smbd", "cifs"),
    "ftp": ("vsftpd", "ftp"),
    "nfs": ("exportfs", "nfs"),
}
_PROPERTIES = "Id,LoadState,ActiveState,SubState,NRestarts,UnitFileState,NeedDaemonReload,MainPID"
# A service that was restarted so often by systemd keeps failing.
_RESTARTS = 3
_DNSMASQ = "netboot-dnsmasq.service"
# dnsmasq's and nginx's own files, beside those for clients.
_OWN_FILES = 50
_OWN_CONNECTIONS = 16
_NFSD = "/proc/fs/nfsd"
_SOON_S = 30 * 86400
# Of what a lease must outlast: the transfer of all that an entry loads, at 20 Mbit/s.
_SLOW_BYTES_PER_S = 2_500_000


def _packages(case: Case) -> Iterator[Finding]:
    if not case.applied:
        return  # an apply installs them
    for kind, (program, method) in _PROGRAMS.items():
        if (not method or method in case.applied["serves"]) and not netboot_run.has(program):
            names = " ".join(case.applied["platform"]["packages"][kind])
            text = f"{program} is not installed ({names}): apply the states again."
            yield ("package.missing", "error", text)


def _units(case: Case) -> Iterator[Finding]:
    if case.records.out_of_service():
        return
    for name, unit in sorted(_shown(case).items()):
        state, restarts = unit["ActiveState"], unit.get("NRestarts", "0")
        log = f"journalctl -u {name} says why"
        if unit["LoadState"] != "loaded":
            text = f"{name} does not exist any more: apply the states again."
            yield ("service.gone", "error", text)
        elif unit.get("SubState") == "auto-restart":
            text = f"{name} fails and is started over and over: {log}."
            yield ("service.restarting", "error", text)
        elif state not in ("active", "activating", "reloading"):
            yield netboot_findings.dead(name, state)
        elif restarts.isdigit() and int(restarts) >= _RESTARTS:
            text = (
                f"{name} failed and was started again {restarts} times: {log}; "
                f"systemctl reset-failed {name} when that is mended."
            )
            yield ("service.restarting", "warning", text)
        elif unit.get("UnitFileState") in ("disabled", "masked"):
            text = f"{name} does not start with the machine: systemctl enable {name}."
            yield ("service.disabled", "warning", text)
        if unit.get("NeedDaemonReload") == "yes":
            text = (
                f"The unit of {name} was changed since it was started: systemctl daemon-reload, "
                f"systemctl restart {name}."
            )
            yield ("service.unit_changed", "warning", text)


def _shown(case: Case) -> dict[str, dict[str, str]]:
    names = case.records.names("services")
    if not names:
        return {}
    argv = ("systemctl", "show", f"--property={_PROPERTIES}")
    return netboot_looks.units(netboot_live.said_by(*argv, *names))


def _configuration(case: Case) -> Iterator[Finding]:
    for name in case.records.names("services"):
        known = case.records.read("services", name)
        for path, text in known["files"].items():
            now = netboot_files.read(path)
            if now != text:
                is_ = "is gone" if now is None else "was changed"
                said = f"{path} {is_} since {name} was started on it: apply the states again."
                yield ("config.changed", "warning", said)
    if case.applied and netboot_run.has("dnsmasq"):
        conf = case.applied["paths"]["dnsmasq"]
        if os.path.exists(conf):
            done = netboot_run.tried("dnsmasq", "--test", f"--conf-file={conf}")
            if done.returncode:
                said = " ".join(netboot_run.said(done).split())
                text = f"dnsmasq rejects {conf} ({said}): apply the states again."
                yield ("dnsmasq.rejected", "error", text)


def _dnsmasq_version(case: Case) -> Iterator[Finding]:
    if case.config["dhcp"]["mode"] != "proxy" or not netboot_run.has("dnsmasq"):
        return
    found = netboot_looks.version(netboot_run.tried("dnsmasq", "--version").stdout)
    if found[:2] == netboot_looks.FAULTY_DNSMASQ:
        text = (
            "dnsmasq 2.92 answers some PXE clients (Raspberry Pi) on a wrong port while "
            "netboot:dhcp:mode is proxy: install 2.93, or 2.91."
        )
        yield ("dnsmasq.faulty", "warning", text)


def _descriptors(case: Case) -> Iterator[Finding]:
    clients = case.config["dhcp"]["clients_at_once"]
    # A TFTP transfer has a socket; one of HTTP a connection and a file.
    nginx = f"{case.config['platform']['nginx']['service']}.service"
    needed = {_DNSMASQ: clients + _OWN_FILES, nginx: 2 * clients + _OWN_FILES}
    for name, unit in _shown(case).items():
        pid = unit.get("MainPID", "0")
        if name in needed and pid != "0":
            may = _may_open(pid)
            if may is not None and may < needed[name]:
                text = (
                    f"{name} may open {may} files, and needs {needed[name]} for "
                    f"netboot:dhcp:clients_at_once: {clients}: systemctl edit {name}, "
                    f"[Service] LimitNOFILE={needed[name]}, systemctl restart {name}."
                )
                yield ("service.descriptors", "warning", text)


def _connections(case: Case) -> Iterator[Finding]:
    """A worker that has no connection left drops clients, whatever the others have."""
    clients, key = max(
        (case.config["http"].get("clients_at_once", 0), "netboot:http:clients_at_once"),
        (case.config["dhcp"]["clients_at_once"], "netboot:dhcp:clients_at_once"),
    )
    main = f"{case.config['platform']['nginx']['directory']}/nginx.conf"
    said = re.findall(r"^\s*worker_connections\s+(\d+)\s*;", netboot_files.read(main) or "", re.M)
    if said and int(said[-1]) < clients + _OWN_CONNECTIONS:
        text = (
            f"{main}: worker_connections is {said[-1]}, and {key} is {clients}: set it to "
            f"{clients + _OWN_CONNECTIONS} or more, and reload nginx."
        )
        yield ("nginx.connections", "warning", text)


def _may_open(pid: str) -> int | None:
    """Return how many files the process, or one that it started, may open; None: any number."""
    # nginx's workers may open more than the process that starts them (worker_rlimit_nofile).
    started = (netboot_files.read(f"/proc/{pid}/task/{pid}/children") or "").split()
    limits = [netboot_files.read(f"/proc/{one}/limits") or "" for one in (pid, *started)]
    numbers = [netboot_looks.open_files(text) for text in limits if text]
    known = [number for number in numbers if number is not None]
    return max(known) if known and len(known) == len(numbers) else None


def _crowd(case: Case) -> Iterator[Finding]:
    dhcp = case.config["dhcp"]
    hosts = max(len(case.records.hosts()), len(case.pillar.get("hosts") or {}))
    if hosts > dhcp["clients_at_once"]:
        text = (
            f"netboot:dhcp:clients_at_once is {dhcp['clients_at_once']}, and the pillar names "
            f"{hosts} hosts: raise it (and netboot:tftp:ports) if all may boot together."
        )
        yield ("tftp.limit", "info", text)
    if dhcp["mode"] != "server" or not case.applied:
        return
    entries = netboot_images.built(case.records)["entries"]
    if not entries:
        return
    largest = max(entries, key=lambda entry: entry["bytes"])
    seconds = largest["bytes"] // _SLOW_BYTES_PER_S
    for subnet in dhcp["subnets"]:
        if subnet["lease_s"] < seconds:
            text = (
                f"netboot:dhcp:subnets: the lease of {subnet['network']} ends after "
                f"{subnet['lease_s']} s, and loading {largest['id']} takes {seconds} s at "
                f"20 Mbit/s: set lease_s to {2 * seconds}."
            )
            yield ("dhcp.lease_short", "warning", text)


# -- SMB, NFS -------------------------------------------------------------------------------------


def _smb1(case: Case) -> Iterator[Finding]:
    if case.config["smb"]["smb1"] or not case.applied:
        return
    facts = {image["label"]: image["facts"] for image in case.records.ready()}
    for entry in netboot_images.built(case.records)["entries"]:
        image = facts[entry["label"]]
        if entry["method"] == "cifs" and needs_smb1(image["dialect"], image.get("build_date", "")):
            text = (
                f"{entry['id']}: the first stage of {image.get('build_date') or 'this image'} "
                "mounts by SMB1 alone, which is off: set netboot:smb:smb1: true, or boot it by "
                "http."
            )
            yield ("smb.smb1", "error", text)


def needs_smb1(dialect: str, build_date: str) -> bool:
    """
    Return whether a first stage mounts shares by SMB1 alone.

    dialect
        Its dialect.

    build_date
        Of the ISO, ``YYYY-MM-DD``; empty: unknown.
    """
    # propagator before 2021-09-02 asks for vers=1.0.
    return dialect == "propagator" and "" < build_date < "2021-09-02"


def _nfs(case: Case) -> Iterator[Finding]:
    if not case.applied or "nfs" not in case.applied["serves"]:
        return
    service = case.applied["platform"]["nfs"]["service"]
    versions = netboot_files.read(f"{_NFSD}/versions")
    if versions is None or (netboot_files.read(f"{_NFSD}/threads") or "0").strip() == "0":
        text = f"The kernel serves no NFS: systemctl restart {service}."
        yield ("nfs.dead", "error", text)
        return
    if "+3" not in versions.split():
        text = (
            "The NFS server has no version 3, by which first stages mount: set vers3=y in "
            f"/etc/nfs.conf, section nfsd, and systemctl restart {service}."
        )
        yield ("nfs.version", "error", text)
    binders = netboot_sockets.listeners("udp", 111) or netboot_sockets.listeners("tcp", 111)
    if not binders:
        text = "rpcbind does not run, which NFS clients ask: systemctl enable --now rpcbind."
        yield ("nfs.rpcbind", "error", text)
    elif all(one["address"] in ("127.0.0.1", "::1") for one in binders):
        text = "rpcbind answers only this machine: control rpcbind server, and restart it."
        yield ("nfs.rpcbind", "error", text)


# -- secrets --------------------------------------------------------------------------------------


def _certificate(case: Case) -> Iterator[Finding]:
    http = case.config["http"]
    for key in ("certificate", "key"):
        if http[key] and not os.path.isfile(http[key]):
            path = http[key]
            text = f"netboot:http:{key}: {path} does not exist; copy it there."
            yield ("certificate.missing", "error", text)
    if not http["certificate"] or not os.path.isfile(http["certificate"]):
        return
    with open(http["certificate"], "rb") as file:
        end = netboot_looks.ends(file.read())
    if end is None:
        text = f"netboot:http:certificate: {http['certificate']} is no PEM certificate; replace it."
        yield ("certificate.unreadable", "error", text)
    elif end < case.now + _SOON_S:
        day = time.strftime("%Y-%m-%d", time.gmtime(end))
        over = end < case.now
        text = (
            f"netboot:http:certificate: {http['certificate']} {'ended' if over else 'ends'} on "
            f"{day}; renew it, and systemctl reload {case.config['platform']['nginx']['service']}."
        )
        yield ("certificate.ending", "error" if over else "warning", text)


def _secrets(case: Case) -> Iterator[Finding]:
    files = {
        case.config["paths"]["passwords"]: "0640",
        case.config["http"]["key"]: "0600",
        case.config["paths"]["records"]: "0700",
        # Names of scripts in it are known to the armed hosts alone.
        case.config["paths"]["once_scripts"]: "0750",
        case.config["paths"].get("answers", ""): "0750",
    }
    for path, mode in files.items():
        try:
            there = stat.S_IMODE(os.stat(path).st_mode) if path else 0
        except FileNotFoundError:
            continue
        if there & 0o007:
            text = f"{path} can be read by others: chmod {mode} {path}."
            yield ("secret.readable", "warning", text)


#: By words for what is looked at.
LOOKS = {
    "the programs of the services": _packages,
    "the services": _units,
    "whether services run on what lies on the disk": _configuration,
    "the version of dnsmasq": _dnsmasq_version,
    "how many files services may have open": _descriptors,
    "how many connections the web server may have": _connections,
    "limits for many clients": _crowd,
    "SMB1": _smb1,
    "the NFS server": _nfs,
    "the certificate of the web server": _certificate,
    "who may read passwords and keys": _secrets,
}
