"""
The shapes of the project's data.

``Config`` is what the pillar resolves to on a machine (``netboot_pillar``). An ``Image`` is one of
its images. Unpacking an image's ISO gives an ``ImageRecord`` with ``Facts`` (``iso_tree``,
``iso_facts``). Records and configuration give every ``Entry`` of the menus (``netboot_entries``). A
``Host`` is a machine in the pillar (``netboot_hosts``), an ``Arming`` the record that it boots its
entry one more time (``netboot_arming``). Sizes are in bytes, times in seconds since 1970.
"""

# Not with the annotations of __future__: as strings, Python would compile each in every start.
from typing import Any, Optional, TypedDict, Union

Pillar = dict[str, Any]
# Of a check: key, severity (error, warning, info), text (one line).
Finding = tuple[str, str, str]


class Target(TypedDict):
    """Facts of a machine; the pillar is checked against them."""

    platform: list[str]  # ID of os-release, then the words of its ID_LIKE
    interfaces: dict[str, list[str]]  # IPv4 addresses with prefix length, by interface
    addresses: list[str]  # all IPv4 addresses of the machine
    default_interface: Optional[str]  # the interface with the IPv4 default route
    selinux: bool
    state_dir: str  # the directory of the records


# -- configuration --------------------------------------------------------------------------------


class Interface(TypedDict):
    name: str
    address: str  # from which its clients fetch
    url: str  # of the web server
    network: str
    netmask: str


class Firmware(TypedDict):
    """A kind of firmware, see ``netboot_firmware``."""

    kind: str
    arch: str  # whose menu it gets
    boots: list[str]  # architectures of the images that it can start
    pxe: list[int]  # numbers in DHCP option 93, over PXE
    http: list[int]  # and over UEFI HTTP boot
    features: list[int]  # features that its iPXE needs for the menu, as in option 175
    file: str  # its boot loader in the TFTP root
    http_file: str  # the one over UEFI HTTP boot
    plain: str  # the unsigned one
    secure: str  # what that of Secure Boot starts: ipxe, grub; or empty: there is none


class _BootFile(TypedDict):
    kind: str  # of firmware
    file: str  # name in the TFTP root


class BootFile(_BootFile, total=False):
    """A boot loader: from a package, or fetched."""

    packaged: list[str]  # paths; the first that exists is used
    url: str
    checksum: dict[str, str]
    path: str  # in the archive at that URL
    copy_of: str  # name of another one in the TFTP root


class SecureBoot(TypedDict):
    """How machines with Secure Boot boot."""

    way: str  # ipxe: a signed iPXE; grub: an image's own shim and GRUB
    image: str  # that image's label, or empty
    enrolled: list[str]  # names of certificates that machines have


class Unsigned(TypedDict):
    """Machines that get the unsigned boot loader, as DHCP recognizes them."""

    macs: list[str]  # for dnsmasq, with * for what any of them has
    uuids: list[str]  # their bytes in DHCP option 97, in either order


class Offer(TypedDict, total=False):
    """Settings of an image's boot entries in the pillar."""

    variants: list[str]
    methods: list[str]
    forms: list[str]
    arguments: list[str]
    extra_ipxe_conf: list[dict[str, str]]
    password: bool
    nic: str  # booted, any
    imgsize: bool
    hash_mounted: bool
    kernel_url: str
    initrd_url: str
    stage2_http_url: str


class _Image(TypedDict):
    name: str
    label: str  # its name in paths and menus
    file: str  # file name of the ISO
    sources: list[str]  # URLs of the ISO, in the order in which they are tried
    mirrors: list[str]  # which of them netboot:mirrors gives
    controller: list[str]  # from which the host of salt-ssh fetches it for this machine; or none
    checksum: dict[str, str]  # digests by algorithm
    sums: bool
    refresh: bool
    verify: str  # changed, always
    overrides: dict[str, str]  # what the pillar sets instead of the ISO, by pillar key
    offer: Offer
    unpack: str  # stages, tree or empty
    mount: bool
    keep_iso: bool


class Held(TypedDict):
    """Why an image stays as it is; then its file and digests are those in service."""

    pillar: _Image  # as the pillar has it
    waits: str  # for what: its wave, the window (22:00-06:00); empty: it goes back
    window: bool  # whether it is the window alone that it waits for


class Image(_Image, total=False):
    """An image whose ISO these states fetch."""

    held: Held  # during an apply: it stays as it is, or goes back


class Network(TypedDict):
    network: str
    netmask: str


class Subnet(Network):
    """What a DHCP server gives to the clients of a network."""

    first: str  # of its addresses
    last: str
    lease_s: int
    router: str  # or empty, like the domain
    dns: list[str]
    domain: str


class Dhcp(TypedDict):
    mode: str  # proxy, server, off
    clients_at_once: int
    relayed: list[Network]
    subnets: list[Subnet]


class Http(TypedDict):
    port: int
    url: str
    listen: list[str]  # addresses; none: all
    listing: str  # json, html, off
    certificate: str  # path, or empty: no HTTPS
    key: str
    https_port: int
    clients_at_once: int  # that load; 0: any number


class Status(TypedDict):
    """The status page."""

    allow: list[str]  # networks that may see it; none: there is no page


class _Extra(TypedDict):
    title: str
    arches: list[str]  # whose menus have it
    arguments: list[str]
    password: bool


class Extra(_Extra, total=False):
    """A line of the menu that the admin wrote."""

    kernel: str
    initrd: str
    chain: str
    script: str


class Menu(TypedDict):
    title: str
    timeout_s: int
    arch_timeout_s: dict[str, int]
    languages: list[str]
    unicode: bool
    labels: dict[str, str]
    shell: bool
    password: dict[str, Any]  # users: hashes by name; variants: those that ask for one
    extra: list[Extra]


class Admin(TypedDict):
    keys: list[str]  # of ssh
    sudo: bool


class Proxy(TypedDict):
    url: str  # empty: that of the environment
    direct: list[str]  # networks whose machines are asked without it


# "from" is a word of Python's.
Fetch = TypedDict(
    "Fetch", {"at_once": int, "attempts": int, "stall_timeout_s": int, "from": "list[str]"}
)


class Schedule(TypedDict, total=False):
    """When highstate is applied; empty: never."""

    hours: int  # or minutes
    minutes: int
    splay_s: int


class InstallUser(TypedDict):
    password: str  # its hash, like root's
    real_name: str
    admin: bool
    autologin: bool


class InstallFile(TypedDict):
    text: str
    mode: str  # octal


class InstallSalt(TypedDict):
    master: str  # or empty: no minion
    master_finger: str
    highstate: bool


class Install(TypedDict):
    """How machines are installed unattended, see ``netboot_answers``. What is empty is not set."""

    disk: Union[str, list[int]]  # all, smallest, empty, a path; or least and largest size in GB
    root_password: str
    users: dict[str, InstallUser]
    language: str
    keyboard: str
    timezone: str
    utc: bool
    layout: str  # ext4, btrfs, own
    swap_mib: int
    root_mib: int
    home: bool
    vm_profile: str
    grub_device: str
    network: str  # what controls it
    interfaces: list[str]
    package_groups: list[str]
    packages: list[str]
    repositories: list[str]
    apt_proxy: str
    ntp: list[str]
    files: dict[str, InstallFile]  # by path
    commands: list[str]
    script: str
    salt: InstallSalt
    finish: str  # reboot, poweroff


class MinionKeys(TypedDict):
    """What makes an installed machine a minion that its master knows."""

    id: str
    pem: str  # the private half; empty: it makes its own pair
    pub: str
    master: str
    master_finger: str


class InstallMachine(TypedDict):
    """The machine that is answered for, in one arming."""

    host: str  # its name in the pillar
    hostname: str
    token: str  # of the arming: letters, digits, - and _
    reports: str  # URL; a GET of a step below it reports the step
    network: Optional["StaticAddress"]  # None: DHCP
    minion: Optional[MinionKeys]


class Config(TypedDict):
    """What the pillar resolves to on a machine: every setting, with its default."""

    version: str  # of these states
    interface: str
    address: str
    network: str
    root: str
    paths: dict[str, str]  # see netboot_paths
    interfaces: list[Interface]
    dhcp: Dhcp
    firmware: list[Firmware]
    boot_files: list[BootFile]
    secure_boot: dict[str, SecureBoot]  # by kind of firmware
    unsigned: Unsigned
    http: Http
    status: Status
    probe: bool  # whether an apply ends by loading what clients load
    events: bool  # of what clients do, for a master
    metrics: dict[str, str]  # file; empty: none
    menu: Menu
    default_image: dict[str, str]  # image's name, by architecture
    default_variant: dict[str, str]
    methods: list[str]
    serves: list[str]  # methods that any image uses
    smb: dict[str, bool]  # smb1
    ftp: dict[str, list[int]]  # passive_ports: first, last
    tftp: dict[str, list[int]]  # ports: first, last
    nfs: dict[str, list[str]]  # clients: networks
    admins: dict[str, Admin]  # by account
    selinux: bool
    firewall: str
    arguments: dict[str, list[str]]  # by architecture
    kernel_over: dict[str, str]
    arm_new: bool
    arm_days: int
    answer_hours: int
    arms: bool  # whether this server arms hosts
    armed_by: str  # URL of the server that does, or empty
    waves: bool  # whether images in service wait until an apply is given a wave
    window: dict[str, Any]  # see netboot_window.resolved
    given: dict[str, Any]  # to this apply: wave, open; not on record
    prune: bool
    clean_images: bool
    schedule: Schedule
    fetch: Fetch
    proxy: Proxy
    deltas: bool
    installs: dict[str, Install]
    site: str  # or empty
    mirror: str  # only, also, off
    share_url: str  # where other servers reach this one
    images: list[Image]
    clients_log: str  # path of nginx's log of clients
    elsewhere: list["ImageRecord"]  # images on other servers, as if their ISOs had been inspected
    platform: dict[str, dict[str, Any]]  # a row of salt/netboot/platforms.yaml
    once: bool  # whether any host has once: true


# -- images ---------------------------------------------------------------------------------------


class Stage(TypedDict):
    path: str  # in the ISO
    size: int
    ramdisk_size: int  # KiB


class Started(TypedDict):
    """How a variant is started."""

    stage: str
    argument: str  # word of the kernel command line, or empty


class Signer(TypedDict):
    """Common names of a certificate that signed, and of its issuer."""

    name: str
    issuer: str


class Signature(TypedDict):
    """What an EFI program says of itself, see ``netboot_signatures``."""

    arch: str  # it is for; of an unknown machine: its number
    signers: list[Signer]
    changed: bool  # since it was signed
    sbat: dict[str, int]  # generations by component
    keys: list[str]  # common names of the certificates that a shim accepts
    # Names may be those of earlier keys, so these are compared: [digest of the name, of the key].
    trusts: list[list[str]]  # these certificates
    authorities: list[list[str]]  # who signed, who issued their certificates
    microsoft: list[str]  # of them, those of Microsoft


class SecureFacts(TypedDict):
    """What an image has for Secure Boot, see ``iso_secure_boot``. Paths are those in the tree."""

    shim: str  # or empty
    grub: str
    grub_version: str
    lacks: (
        str  # why its kernel does not start: no-shim, kernel-unsigned, kernel-of-others; or empty
    )
    files: dict[str, Signature]
    inside: dict[str, list[Any]]  # not in the ISO's own tree: [offset of a FAT in the ISO, path]


class _Facts(TypedDict):
    arch: str
    dialect: str  # altboot, propagator
    kernel: str  # paths in the ISO
    initrd: str
    stages: dict[str, Stage]
    livecd: Optional[Started]
    installer: Optional[Started]
    rescue: Optional[Started]
    http_iso: bool  # whether it can boot as a whole ISO over HTTP


class Facts(_Facts, total=False):
    """What was read from an ISO, see ``iso_facts.derive``."""

    product: str
    version: str
    branch: str
    volume_id: str
    uuid: str
    build_date: str
    dialect_source: str
    boot_source: str
    flavours: dict[str, dict[str, str]]
    missing: dict[str, str]
    rejected: list[dict[str, str]]
    installer_names: list[str]  # backends of alterator in the installer's stage; absent: unknown
    secure_boot: SecureFacts  # absent: an architecture without, or a record of an earlier version
    sha256: dict[str, str]  # of kernels, initrds and stages, by path
    tree: dict[str, Any]


class _ImageRecord(TypedDict):
    name: str
    label: str
    file: str
    iso_sha256: Optional[str]
    facts: Facts


class ImageRecord(_ImageRecord, total=False):
    """The record of an image that is ready to boot (kind ``images``)."""

    iso: str  # path of the ISO
    overrides: dict[str, str]
    contradictions: list[str]  # between the pillar and the ISO, a line each
    tree: str  # path of the unpacked or mounted image
    form: str  # boot, stages, tree, mount
    boot_files: dict[str, int]  # sizes of the files that clients fetch, by path below the tree
    identities: dict[str, Any]  # see netboot_files.identity
    offer: Offer


class _IsoRecord(TypedDict):
    size: int
    digests: dict[str, str]  # always with sha256
    identity: Optional[dict[str, int]]
    verified_at: int


class IsoRecord(_IsoRecord, total=False):
    """The record of a verified ISO (kind ``isos``)."""

    source: str  # URL from which these states fetched it; absent: it is foreign
    sums: dict[str, Any]  # the sum file's digest, see iso_sums.expected
    dropped: bool  # it was removed after unpacking
    renamed: bool  # under test=True only: a rename would provide it


class Previous(TypedDict):
    """What an image was before its last wave (kind ``previous``), see ``netboot_previous``."""

    image: ImageRecord
    iso: Optional[IsoRecord]  # None: it is not kept
    inode: int  # of the tree; 0: a mount has none
    back: bool  # an apply has begun to put it back


# -- what clients boot ----------------------------------------------------------------------------


class StageFile(TypedDict):
    path: str  # below the root
    bytes: int


class Entry(TypedDict):
    """One line of the menu, see ``netboot_entries.build``."""

    id: str
    image: str
    label: str
    arch: str
    variant: str
    method: str
    form: str
    title: str
    remark: str  # what the title has after the image's name, with labels of the menu
    kernel: str  # path below the TFTP root with a leading slash, or a URL
    initrd: str
    kernel_sha256: str  # empty: not on record
    initrd_sha256: str
    shim: str  # the image's own, as kernel; or empty
    secure_lacks: str  # why Secure Boot refuses the kernel, see LACKS; or empty
    cmdline: str
    files: str  # what must be unpacked: boot, stage, tree
    needs_iso: bool
    stage: StageFile
    bytes: int  # fetched by one boot
    memory_mib: int
    nic: str  # booted, any; empty: propagator's own
    proven: bool
    password: bool
    before: list[str]  # lines of iPXE script


class _StaticAddress(TypedDict):
    interface: str
    address: str  # with the length of its prefix


class StaticAddress(_StaticAddress, total=False):
    """The address with which a host is installed."""

    gateway: str
    dns: list[str]


class Host(TypedDict, total=False):
    """A machine in the pillar, with the settings of its group."""

    mac: Union[str, list[str]]
    uuid: str
    serial: str
    hostname: str
    product: str
    manufacturer: str
    group: str
    image: str
    install: str  # name of an Install; then the variant is install, and once true
    network: StaticAddress
    variant: str
    entry: str  # local
    once: bool
    menu: bool
    timeout_s: int
    arguments: list[str]
    kernel_over: str
    nic: str


class Listed(TypedDict):
    """A host or board for overviews."""

    identities: list[list[str]]  # kind and value, as iPXE writes it
    entry: str  # id of its boot entry, local, or empty: the menu decides
    once: bool
    menu: bool  # whether it shows the menu first
    group: str  # or empty


class OnceHost(TypedDict):
    """A host that boots an entry once, and what shows that it did."""

    host: str  # its name in the pillar
    entry: str  # id of its boot entry
    straight: bool  # without the menu
    told_by: list[str]  # what identifies the machine, such as "mac=525400000001"
    path: str  # its complete download shows the boot; empty while the entry is not ready
    server: str  # URL that kernel and initrd must come from; empty if that does not matter


class Installed(OnceHost, total=False):
    """The same of a host that is installed unattended."""

    install: str  # its name in the pillar
    hostname: str
    network: Optional["StaticAddress"]  # None: DHCP
    words: list[str]  # of the kernel command line, besides curl=
    until: int  # when it is disarmed by itself; absent: after arm_days
    minion: dict[str, str]  # id and pub, the key that it will have; or empty


class Arming(Installed):
    """The record that a host boots its entry one more time (kind ``owned``, ``once``)."""

    arming: str  # part of the paths that it fetches
    armed_at: int
    dropped: bool  # the pillar no longer names the host


class Boot(TypedDict):
    """The record of ``netboot-once`` that a host has booted (kind ``once``)."""

    arming: str
    entry: str
    booted_at: int


class _Run(TypedDict):
    at: int
    failed: dict[str, str]  # by id of a state, the first line of why it failed


class Run(_Run, total=False):
    """How the last apply ended that changed something."""

    cleaned: bool  # netboot.clean, after which nothing is served
