"""Makes the Debian machine that it runs on look like ALT p11 to Salt and to our states.

A look-alike: the programs are Debian's own. They become rpm packages with ALT's names, paths, users
and units, which wait in the stand-in's repository to be installed; Debian's own copies go.
"""

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.altlike import packages

DEBIAN = ["dnsmasq-base", "ipxe", "nfs-kernel-server", "nginx", "rpm", "samba", "vsftpd"]
BUILT = "p11+400000.100.1.1@1754002425"

# As in ALT Server 11.0.
OS_RELEASE = """NAME="ALT Server"
VERSION="11.0"
ID=altlinux
VERSION_ID=11.0
PRETTY_NAME="ALT Server 11.0 (Mendelevium)"
VARIANT_ID=edition_server
ALT_BRANCH_ID="p11"
"""
RELEASE = "ALT Server 11.0 (Mendelevium)\n"

NGINX_CONF = """user _nginx _nginx;
worker_processes auto;
error_log /var/log/nginx/error.log;
pid /run/nginx.pid;
events { worker_connections 1024; }
http {
    include /etc/nginx/mime.types;
    access_log /var/log/nginx/access.log;
    include /etc/nginx/sites-enabled.d/*.conf;
}
"""
DNSMASQ_UNIT = """[Service]
ExecStart=/usr/sbin/dnsmasq --keep-in-foreground --conf-dir=/etc/dnsmasq.conf.d
[Install]
WantedBy=multi-user.target
"""
VSFTPD_UNIT = """[Service]
ExecStart=/usr/sbin/vsftpd /etc/vsftpd/conf
[Install]
WantedBy=multi-user.target
"""
RPCBIND_UNIT = """[Service]
Type=notify
ExecStart=/sbin/rpcbind -f
[Install]
WantedBy=multi-user.target
"""
# A container's kernel has no NFS server: only mountd is real, which tells clients what is exported.
# It does not end while it registers itself with rpcbind.
NFS_UNIT = """[Unit]
Requires=rpcbind.service
After=rpcbind.service
[Service]
ExecStartPre=/usr/sbin/exportfs -r
ExecStart=/usr/sbin/rpc.mountd --foreground
TimeoutStopSec=2
[Install]
WantedBy=multi-user.target
Alias=nfs.service
"""
# A stand-in for ALT's control(8), and what rpcbind brings for it: it only remembers.
CONTROL = """#!/bin/sh
facility=/etc/control.d/facilities/$1
[ -e "$facility" ] || { echo "control: $1: unknown facility" >&2; exit 1; }
exec sh "$facility" "${2:-status}"
"""
RPCBIND_CONTROL = """file=/etc/sysconfig/rpcbind
case $1 in
status) cat $file ;;
local | server) echo $1 > $file ;;
*) exit 1 ;;
esac
"""

UNITS = "/usr/lib/systemd/system"
# Package: version, then Debian's packages whose files it has, all but documents and configuration.
PROGRAMS = {
    "anonftp": ("3.2-alt1", []),
    "dnsmasq": ("2.90-alt1", ["dnsmasq-base"]),
    "ipxe-bootimgs": ("1:20240725-alt1", []),
    "nfs-server": ("1:2.6.4-alt1", ["nfs-kernel-server"]),
    "nfs-utils": ("1:2.6.4-alt1", ["nfs-common"]),
    "nginx": ("1.26.2-alt1", ["nginx", "nginx-common"]),
    "rpcbind": ("1.2.6-alt1", ["rpcbind"]),
    "samba": ("4.20.6-alt1", ["samba", "samba-common-bin"]),
    "vsftpd": ("3.0.5-alt2", ["vsftpd"]),
}
NEEDS = {"nfs-server": "nfs-utils", "nfs-utils": "rpcbind"}
# Users that a package makes, with their homes.
USERS = {
    "dnsmasq": {"_dnsmasq": "/dev/null"},
    "nginx": {"_nginx": "/dev/null"},
    "rpcbind": {"rpc": "/"},
    "vsftpd": {"vsftpd": "/var/ftp", "novsftpd": "/dev/null"},
}
# What else a package does when it is installed.
AFTER = {
    "anonftp": "groupadd -r -f ftpadmin\ninstall -d -m 2775 -g ftpadmin /var/ftp",
    "rpcbind": "control rpcbind local",
    "vsftpd": "chmod 700 /etc/vsftpd",
}
# Files by package: path, and text, or the file of Debian's that it is.
FILES = {
    "anonftp": {},
    "dnsmasq": {
        "/etc/dnsmasq.conf.d/.keep": "",
        f"{UNITS}/dnsmasq.service": DNSMASQ_UNIT,
    },
    "ipxe-bootimgs": {
        "/usr/share/ipxe/undionly.kpxe": Path("/usr/lib/ipxe/undionly.kpxe"),
        "/usr/share/ipxe/snponly-x86_64.efi": Path("/usr/lib/ipxe/snponly.efi"),
        "/usr/share/ipxe/ipxe-x86_64.efi": Path("/usr/lib/ipxe/ipxe.efi"),
    },
    "nfs-server": {
        "/var/lib/nfs/v4recovery/.keep": "",
        f"{UNITS}/nfs-server.service": NFS_UNIT,
    },
    "nfs-utils": {},
    "nginx": {
        "/etc/nginx/nginx.conf": NGINX_CONF,
        "/etc/nginx/mime.types": Path("/etc/nginx/mime.types"),
        "/etc/nginx/sites-enabled.d/.keep": "",
        f"{UNITS}/nginx.service": Path("/lib/systemd/system/nginx.service"),
    },
    "rpcbind": {
        "/etc/control.d/facilities/rpcbind": RPCBIND_CONTROL,
        "/etc/sysconfig/rpcbind": "",
        f"{UNITS}/rpcbind.service": RPCBIND_UNIT,
    },
    "samba": {
        "/etc/samba/smb.conf": "[global]\n    workgroup = WORKGROUP\n",
        f"{UNITS}/smb.service": Path("/lib/systemd/system/smbd.service"),
    },
    "vsftpd": {
        "/etc/vsftpd/conf": "listen=NO\n",
        f"{UNITS}/vsftpd.service": VSFTPD_UNIT,
    },
}
# What is installed from the beginning, without files: these are Debian's here.
INSTALLED = {"bash": "5.2.37-alt1", "python3": "3.12.7-alt1", "apt-repo": "1.4.1-alt2"}
INSTALLED |= {"control": "0.8.0-alt1"}
GONE = ["/usr/bin/dpkg", "/usr/bin/dpkg-query", "/usr/bin/apt", "/etc/debian_version"]
GONE += ["/usr/lib/ipxe", "/etc/nginx", "/etc/samba", "/etc/vsftpd.conf"]
# Debian's units of what ALT's packages bring.
THEIRS = ["nginx.service", "smbd.service", "nmbd.service", "samba-ad-dc.service", "vsftpd.service"]
THEIRS += ["nfs-server.service", "rpcbind.socket", "rpcbind.service"]


def run(*argv):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(argv, check=True, env=environment, stdout=subprocess.DEVNULL)


def files_of(debian_package):
    """Its programs and what they need; no documents, configuration, units."""
    listed = subprocess.run(
        ["dpkg", "-L", debian_package], check=True, text=True, capture_output=True
    ).stdout
    for name in listed.splitlines():
        path = Path(name)
        own = ("/usr/share/doc", "/usr/share/man", "/etc", "/lib/systemd", "/usr/lib/systemd")
        if not name.startswith(own) and path.is_file():
            yield path


def build(name, evr, debian_packages):
    """Make the package of that name. Returns Debian's files, which it has now."""
    taken = [path for one in debian_packages for path in files_of(one)]
    with tempfile.TemporaryDirectory() as tree:
        for path in taken:
            copy(path, Path(tree, str(path)[1:]))
        for path, source in FILES[name].items():
            target = Path(tree, path[1:])
            if isinstance(source, Path):
                copy(source, target)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(source)
        users = [
            f"id {user} >/dev/null 2>&1 || useradd -r -U -d {home} -s /dev/null {user}"
            for user, home in USERS.get(name, {}).items()
        ]
        scripts = "\n".join(["%pre", *users, "%post", AFTER.get(name, "")])
        tags = [f"Requires: {NEEDS[name]}"] if name in NEEDS else []
        packages.build(packages.branch("/"), name, evr, BUILT, tags, scripts, tree)
    return taken


def copy(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def main():
    policy = Path("/usr/sbin/policy-rc.d")  # no service starts
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    run("apt-get", "-qq", "update")
    run("apt-get", "-qq", "-y", "install", "--no-install-recommends", *DEBIAN)

    packages.branch("/").mkdir(parents=True)
    taken = [path for name, (evr, debs) in PROGRAMS.items() for path in build(name, evr, debs)]
    Path("/etc/rpm").mkdir(exist_ok=True)
    Path("/etc/rpm/macros").write_text("%_dbpath /var/lib/rpm\n")
    run("rpm", "--initdb")
    with tempfile.TemporaryDirectory() as folder:
        for name, evr in INSTALLED.items():
            tags = ["Provides: /bin/sh"] if name == "bash" else []
            run("rpm", "-i", packages.build(folder, name, evr, BUILT, tags=tags))

    for path in [*taken, *map(Path, GONE)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for unit in THEIRS:
        run("systemctl", "disable", "--quiet", unit)
        Path("/lib/systemd/system", unit).unlink(missing_ok=True)
    for user in ("www-data", "ftp", "dnsmasq"):
        subprocess.run(["userdel", user], check=False, stderr=subprocess.DEVNULL)
    policy.unlink()

    Path("/usr/sbin/control").write_text(CONTROL)
    Path("/usr/sbin/control").chmod(0o755)
    packages.install_standin("/")
    Path("/usr/lib/os-release").write_text(OS_RELEASE)
    Path("/etc/altlinux-release").write_text(RELEASE)
    for name in ("redhat", "fedora", "system"):
        Path(f"/etc/{name}-release").symlink_to("altlinux-release")
    run("systemctl", "daemon-reload")
    run("apt-get", "update")
    print(f"This Debian looks like {RELEASE.strip()} now, on {platform.machine()}.")


if __name__ == "__main__":
    main()
