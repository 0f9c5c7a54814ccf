"""/etc/os-release of systems as they are published, with the row of platforms.yaml that is theirs.

None for systems that no row is for. Addresses of their makers are left out.
"""

SYSTEMS = {
    "ALT p9 starterkit": (
        'NAME="starter kit"\nVERSION="p9 (Hypericum)"\nID=altlinux\nVERSION_ID=p9\n'
        'PRETTY_NAME="ALT Starterkit (Hypericum)"\nCPE_NAME="cpe:/o:alt:starterkit:p9"\n',
        "altlinux",
    ),
    "ALT Workstation 10.1": (
        'NAME="ALT Workstation"\nVERSION="10.1"\nID=altlinux\nVERSION_ID=10.1\n'
        'PRETTY_NAME="ALT Workstation 10.1 (Autolycus)"\nANSI_COLOR="1;33"\n',
        "altlinux",
    ),
    "ALT Server 11.0": (
        'NAME="ALT Server"\nVERSION="11.0"\nID=altlinux\nVERSION_ID=11.0\n'
        'PRETTY_NAME="ALT Server 11.0 (Mendelevium)"\nANSI_COLOR="1;33"\n'
        'CPE_NAME="cpe:/o:alt:server:11.0"\nBUILD_ID="ALT Server 11.0"\nALT_BRANCH_ID="p11"\n',
        "altlinux",
    ),
    "ALT p11 starterkit": (
        'NAME="ALT"\nVERSION="11 (Salvia)"\nID=altlinux\nVERSION_ID=11\n'
        'PRETTY_NAME="ALT Starterkit 11 (Salvia)"\n',
        "altlinux",
    ),
    "ALT Sisyphus": (
        'NAME="ALT"\nID=altlinux\nVERSION_ID=20260316\nPRETTY_NAME="ALT Regular"\n',
        "altlinux",
    ),
    "ALT Atomic": (
        'NAME="ALT Atomic"\nID="alt-atomic-onyx-nightly"\nID_LIKE="altlinux"\n',
        "altlinux",
    ),
    "Debian 11": (
        'PRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\nNAME="Debian GNU/Linux"\nVERSION_ID="11"\n'
        'VERSION="11 (bullseye)"\nVERSION_CODENAME=bullseye\nID=debian\n',
        "debian",
    ),
    "Debian 12": (
        'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n'
        'VERSION="12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n',
        "debian",
    ),
    "Debian 13": (
        'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"\nVERSION_ID="13"\n'
        'VERSION="13 (trixie)"\nVERSION_CODENAME=trixie\nDEBIAN_VERSION_FULL=13.7\nID=debian\n',
        "debian",
    ),
    "Ubuntu 22.04": (
        'PRETTY_NAME="Ubuntu 22.04.5 LTS"\nNAME="Ubuntu"\nVERSION_ID="22.04"\n'
        'VERSION="22.04.5 LTS (Jammy Jellyfish)"\nVERSION_CODENAME=jammy\nID=ubuntu\n'
        "ID_LIKE=debian\nUBUNTU_CODENAME=jammy\n",
        "debian",
    ),
    "Ubuntu 24.04": (
        'PRETTY_NAME="Ubuntu 24.04.2 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\n'
        'VERSION="24.04.2 LTS (Noble Numbat)"\nVERSION_CODENAME=noble\nID=ubuntu\n'
        "ID_LIKE=debian\nUBUNTU_CODENAME=noble\nLOGO=ubuntu-logo\n",
        "debian",
    ),
    "Linux Mint 22": (
        'NAME="Linux Mint"\nVERSION="22 (Wilma)"\nID=linuxmint\nID_LIKE="ubuntu debian"\n'
        'PRETTY_NAME="Linux Mint 22"\nVERSION_ID="22"\nUBUNTU_CODENAME=noble\n',
        "debian",
    ),
    "Fedora 41": (
        'NAME="Fedora Linux"\nVERSION="41 (Server Edition)"\nRELEASE_TYPE=stable\nID=fedora\n'
        'VERSION_ID=41\nPLATFORM_ID="platform:f41"\nVARIANT_ID=server\n',
        "fedora",
    ),
    "RHEL 9": (
        'NAME="Red Hat Enterprise Linux"\nVERSION="9.4 (Plow)"\nID="rhel"\nID_LIKE="fedora"\n'
        'VERSION_ID="9.4"\nPLATFORM_ID="platform:el9"\n',
        "fedora",
    ),
    "CentOS Stream 9": (
        'NAME="CentOS Stream"\nVERSION="9"\nID="centos"\nID_LIKE="rhel fedora"\nVERSION_ID="9"\n'
        'PLATFORM_ID="platform:el9"\n',
        "fedora",
    ),
    "Rocky Linux 9": (
        'NAME="Rocky Linux"\nVERSION="9.4 (Blue Onyx)"\nID="rocky"\nID_LIKE="rhel centos fedora"\n'
        'VERSION_ID="9.4"\nPLATFORM_ID="platform:el9"\n',
        "fedora",
    ),
    "AlmaLinux 9": (
        'NAME="AlmaLinux"\nVERSION="9.3 (Shamrock Pampas Cat)"\nID="almalinux"\n'
        'ID_LIKE="rhel centos fedora"\nVERSION_ID="9.3"\nPLATFORM_ID="platform:el9"\n',
        "fedora",
    ),
    "openSUSE Leap 15.6": (
        'NAME="openSUSE Leap"\nVERSION="15.6"\nID="opensuse-leap"\nID_LIKE="suse opensuse"\n'
        'VERSION_ID="15.6"\n',
        None,
    ),
    "Arch": ('NAME="Arch Linux"\nPRETTY_NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling\n', None),
}
