"""
Inspect a netboot server: the machine, its applied configuration, and what its clients can boot.

``config`` and ``target`` serve the states. The others read the records below ``/var/lib/netboot``,
never the pillar, so that they work over salt-ssh and on a machine whose master is down.
"""

import os

import salt.utils.yaml
from salt.exceptions import CommandExecutionError, SaltInvocationError

import netboot_fresh

netboot_fresh.forget_old()

import netboot_arming
import netboot_backup
import netboot_bootable
import netboot_cache
import netboot_carry
import netboot_clients
import netboot_doctor
import netboot_elsewhere
import netboot_findings
import netboot_hints
import netboot_images
import netboot_listing
import netboot_machine
import netboot_minion_keys
import netboot_pillar
import netboot_plan
import netboot_queue
import netboot_rules
import netboot_snapshot
import netboot_status
import netboot_unknown
import netboot_wake
from netboot_names import VERSION
from netboot_paths import STATE_DIR
from netboot_records import Records

__virtualname__ = "netboot"

__func_alias__ = {"list_": "list", "import_": "import"}


def __virtual__():
    return __virtualname__


def _records():
    return Records.of(__opts__, __context__)


def config(pillar=None, platforms=None, keys=()):
    """
    Validate the pillar for this machine and return the configuration that it resolves to.

    pillar : None
        The pillar below the key ``netboot`` (a map). Default: as this minion has it.

    platforms : None
        The table of platforms (a map). Default: ``salt/netboot/platforms.yaml``.

    keys : ()
        All keys of the pillar, to name a misspelt ``netboot`` (a list).

    Returns a map: ``problems``, a list of one-line strings, each starting with its pillar key;
    ``warnings``, the same for what is not fatal; and, when there are no problems, ``config``: all
    settings with their defaults, interface, address, images and platform resolved.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.config
    """
    if platforms is None:
        text = __salt__["cp.get_file_str"]("salt://netboot/platforms.yaml")
        pillar, platforms = pillar or __pillar__.get("netboot"), salt.utils.yaml.safe_load(text)
    asked = (pillar, target(), platforms)
    # Every SLS asks for the same.
    answered = __context__.get("netboot.config")
    if not answered or answered[0] != asked:
        answered = (asked, netboot_pillar.resolve(*asked, keys))
        __context__["netboot.config"] = answered
    return answered[1]


def target():
    """
    Return the facts of this machine that the pillar is checked against.

    Returns a map: ``platform`` (list: ``ID`` of os-release, then the words of its ``ID_LIKE``),
    ``interfaces`` (names, each with a list of IPv4 addresses with prefix length), ``addresses``
    (all IPv4 addresses of this machine), ``default_interface`` (the one with the IPv4 default
    route, or None), ``selinux`` (whether SELinux is on, even if permissive) and ``state_dir`` (the
    directory of the records, from the minion option ``netboot.state_dir``).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.target
    """
    return netboot_machine.target(__opts__.get("netboot.state_dir", STATE_DIR))


def version():
    """
    Return the version of these states, and the version that was applied to this machine.

    Returns a map: ``version``, and ``applied`` (None when nothing was applied yet, an empty string
    for a version before 0.1.0).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.version
    """
    applied = _records().applied()
    return {"version": VERSION, "applied": applied and applied["version"]}


def applied():
    """
    Return the configuration that was applied to this machine.

    Returns a map of all settings with their defaults, as ``netboot.config`` resolves them.

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.applied
    """
    return _records().config()


def status():
    """
    Return how this netboot server is.

    Returns a map: ``version`` (of these states), ``applied`` (``version``, ``at``: when it last
    changed something, as ISO 8601 in UTC, ``failed``: ids of the states that failed then),
    ``out_of_service`` (since when, after ``netboot.clean``; or None), ``serves`` (addresses with
    interfaces), ``dhcp`` (the mode), ``mirror``
    (only, also, off), ``services`` (whether each runs, by name), ``images``
    (``ready`` and ``missing`` names), ``fetching`` (see ``iso_fetch.progress``), ``entries``
    (counts by architecture), ``hosts`` (``named`` in the pillar, ``new``, ``armed``, ``booted``),
    ``schedule`` (None, or ``by``: ``timer`` or ``minion``, ``interval``: ``hours`` or ``minutes``,
    ``next`` and ``last``: when it is and was applied, as ISO 8601 in UTC, or None, ``failed``:
    whether the last such run failed), ``findings`` of ``netboot.check`` (counts by severity) and
    ``disk`` (``path``, ``free`` and ``total`` bytes).

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.status
    """
    return netboot_status.status(_records(), __opts__.get("schedule"))


def hosts(unknown=False):
    """
    List the hosts and boards of the pillar that was applied, in natural order.

    unknown : False
        List instead the machines that asked for a boot and are not hosts in the pillar, from what
        clients did and the last seven days of dnsmasq's log, the newest first: ``mac``,
        ``address``, ``hostname``, ``uuid``, ``serial``, ``manufacturer`` and ``product``, as each
        calls itself (empty: only its firmware asked so far), and ``last`` (ISO 8601 in UTC).

    Raises CommandExecutionError when nothing was applied to this machine yet.

    Returns a list of maps: ``host`` (its name in the pillar), ``identities`` (such as
    ``mac 52:54:00:12:34:56``), ``entry`` (id of its boot entry, ``local``, or empty: the menu
    decides), ``once``, ``group``, ``menu`` (whether it shows the menu first), and
    for those with ``once`` ``armed``, ``booted``, ``booted_entry``, ``install``, ``state``,
    ``step``, ``since``, ``why`` and ``first_come``, see ``netboot_once.list``.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.hosts
        salt 'netboot*' netboot.hosts unknown=true
    """
    records = _records()
    records.config()  # something was applied
    return netboot_unknown.machines(records) if unknown else netboot_listing.hosts(records)


def clients(state=None, since=None):
    """
    List the clients that were seen, by MAC address, with the last boot of each, the newest first.

    Each menu reports its steps to the web server; what comes before and after is seen in what the
    client fetches. The log is kept for some days, 100 MB at most.

    state : None
        Only those in this state: ``in menu``, ``loading``, ``running``, ``local disk``, ``failed``
        or ``gone silent``; ``stopped``: in one of the last two.

    since : None
        Only those seen since then: ``30m``, ``2h``, ``7d``.

    Returns a list of maps: ``mac``, ``host`` (its name in the pillar, or empty), ``address``,
    ``firmware``, ``model``, ``state``, ``step`` (the last one), ``entry`` (id), ``bytes`` fetched,
    ``seconds`` from its first to its last request, ``last`` (ISO 8601 in UTC) and ``cause`` (why it
    stopped, see ``netboot.trace``; or empty).

    Raises SaltInvocationError for another state or time, CommandExecutionError when nothing was
    applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.clients
        salt 'netboot*' netboot.clients state=stopped since=2h
    """
    return netboot_clients.clients(_records(), state, since)


def trace(client):
    """
    Return what a client did in its last five boots, where it stopped, and why.

    client
        Name of the host in the pillar, MAC address in any notation, or the IPv4 address that it had
        last: of the newest client with that.

    Returns a map: ``client``, and ``boots``, the oldest first, each with ``started`` (ISO 8601 in
    UTC), ``address``, ``facts`` (what it said of itself), ``steps`` (a list of maps: ``after_s``,
    ``step``, ``what``), ``state``, and if it stopped ``cause`` (its name in
    docs/troubleshooting.md), ``text`` and ``advice``; ``install``:
    ``state``, ``step``, ``since`` and ``why`` of its unattended install, or None; ``log``: the ends
    of the logs that it sent if that failed or lasted, a list of lines without secrets;
    ``stranger``: whether the pillar has hosts and this client is none of them; ``near``: typos in
    the pillar, perhaps, as maps with ``host``, ``mac``, ``address`` and ``last``: of a stranger the
    hosts that were not seen and have nearly its MAC address, of a host that was not seen the
    strangers with nearly its own.

    Raises SaltInvocationError for a name that is not in the pillar, CommandExecutionError when
    nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.trace 52:54:00:12:34:56
    """
    return netboot_clients.trace(_records(), client)


def send_events(answered=None):
    """
    Send what clients did since the last time as events, if the pillar has ``netboot:events: true``,
    and the public keys of armed hosts that become minions, until the master has accepted them.

    The minion's schedule runs this each minute. An event has the tag ``netboot/client/MAC/STEP``,
    and ``mac``, ``host``, ``address``, ``step``, ``at`` (ISO 8601 in UTC), ``entry``, ``model``,
    ``firmware``, and for what came to an end ``cause``, ``text`` and ``advice``. STEP is
    ``script``, ``menu``, ``chosen``, ``host``, ``kernel``, ``initrd``, ``boot``, ``running``,
    ``local-disk``, ``failed`` or ``gone-silent``. At most 100 are sent at once. If there were too
    many, an event ``netboot/clients/dropped`` says how many were not sent.

    A key is in this minion's mine (``netboot_minion_keys``), and an event ``netboot/minion/key``
    with ``id``, ``pub``, ``host``, ``armed_at`` and ``installed``.

    answered : None
        Fingerprints of keys that the master has accepted (a map by id), as its runner
        ``netboot_minions`` sends them.

    Returns how many were sent.

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.send_events
    """
    records, send_event = _records(), __salt__["event.send"]
    netboot_minion_keys.answered(records, answered)
    keys = netboot_minion_keys.send(records, send_event, __salt__["mine.send"])
    return len(keys) + netboot_queue.send(records, send_event)


def images():
    """
    List the images that are ready to boot, with the facts from their ISOs.

    Returns a list of maps: ``name``, ``label``, ``iso`` (its path), ``tree`` (directory of its boot
    files) and ``facts`` as ``alt_iso.inspect`` returns them, with digests.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.images
    """
    return _records().images()


def list_():
    """
    List what is on this machine: each image that is in the pillar or was left behind.

    Returns a map by the image's name: ``in_pillar``, ``entries`` (ids of the boot entries that use
    it), ``iso`` (``path``, ``bytes``, ``state``: ``kept``, ``dropped`` after unpacking, or
    ``absent``, ``ours``: whether these states fetched it, ``verified``: when, as ISO 8601 in UTC,
    or None, ``source``: the URL that it came from, or empty, ``progress`` of a running fetch, see
    ``iso_fetch.progress``) and ``tree`` (``path``,
    ``bytes``, ``form``: ``boot``, ``stages``, ``tree`` or ``mount``; None when it is not unpacked).

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.list
    """
    return netboot_listing.images(_records())


def entries(arch=None):
    """
    List the boot entries that clients are offered.

    arch : None
        Only those of this architecture, by ALT's name (x86_64, aarch64, ...).

    Returns a list of maps: ``id``, ``image``, ``arch``, ``variant``, ``method``, ``form``,
    ``title``, ``kernel`` and ``initrd`` (paths below the TFTP root, or URLs), ``cmdline``,
    ``bytes`` (fetched by one boot), ``memory_mib`` (MiB that a client needs) and more.

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.entries arch=x86_64
    """
    found = netboot_images.built(_records())["entries"]
    return [entry for entry in found if arch in (None, entry["arch"])]


def menu(arch, host=None):
    """
    Return the iPXE script that clients of an architecture get, or the menu of an image's own GRUB.

    arch
        ALT's name of the architecture (x86_64, aarch64, ...); ``grub``: GRUB's menu, of machines
        with Secure Boot that load an image's own shim and GRUB.

    host : None
        Include the scripts that this host gets before the menu: its name in the pillar, or its MAC
        address in any notation, UUID, host name or serial number.

    Raises SaltInvocationError for an architecture that has no menu here, and for a host that has no
    script.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.menu arch=x86_64
        salt 'netboot*' netboot.menu arch=x86_64 host=52:54:00:12:34:56
    """
    return netboot_listing.menu(_records(), arch, host)


def arm(host=None, group=None, disarm=False, hours=None, test=False):
    """
    Arm hosts with ``once: true`` or ``install``: they boot their entry one more time, then from
    their own disks.

    host
        Name of the host in the pillar, or a pattern such as ``lab*`` for several; or a list of
        these. If one of them is unknown, nothing is done.

    group : None
        Instead, all hosts of this group; or, of the hosts, those of this group.

    disarm : False
        Disarm them instead: they boot from their own disks until they are armed again. An install
        that has begun gets no more answers.

    hours : None
        For how many hours hosts with ``install`` are armed. Default: ``arm_days``.

    test : False
        Only return which hosts would be armed.

    Returns a list of maps: ``host``, ``entry`` (id), ``armed`` (when, as ISO 8601 in UTC; None if
    it was disarmed), ``install`` (how it is installed, or empty), ``disk`` (which of its disks may
    be wiped), ``until`` (when it is disarmed by itself), ``installed`` (when it was before), and if
    it becomes a minion, ``minion`` (its id) and ``finger`` (of its public key, as ``salt-key -f``
    prints it).

    Raises SaltInvocationError when no host of that name has ``once: true``, CommandExecutionError
    when this server cannot arm hosts now.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.arm host=pc1
        salt 'netboot*' netboot.arm host='lab*' test=true
        salt 'netboot*' netboot.arm group=room12 hours=12
        salt 'netboot*' netboot.arm host=pc1 disarm=true
    """
    if disarm:
        # The schedule takes the keys from the mine: this must not wait for a master.
        return netboot_arming.disarm(_records(), host, group)
    done = netboot_arming.arm(_records(), host, group, hours, test)
    if not test and __opts__.get("file_client") == "remote":
        netboot_minion_keys.send(_records(), __salt__["event.send"], __salt__["mine.send"])
    return done


def answers(host):
    """
    Show what the installer of a host with ``install`` is answered, on a BIOS (``pcbios``) and on
    UEFI (``efi``), without secrets: hashes, tokens and keys are masked.

    host
        Its name in the pillar.

    Returns the texts by path; of an archive, those of its files.

    Raises SaltInvocationError when there is no such host or it has no ``install``,
    CommandExecutionError when its image is not ready or cannot be installed unattended.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.answers pc1
    """
    return netboot_arming.answers(_records(), host)


def wake(host=None, group=None):
    """
    Wake hosts by Wake-on-LAN, from the interfaces of this server. Nobody is armed by it.

    host, group
        See ``netboot.arm``; any host with a MAC address, armed or not.

    Returns a list of maps: ``host``, ``macs``, ``armed`` (whether it boots its entry now) and
    ``install`` (whether that installs it).

    Raises SaltInvocationError when a host is unknown or has no MAC address, CommandExecutionError
    when nothing can be sent.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.wake group=room12
        salt 'netboot*' netboot.wake host='pc*'
    """
    return netboot_wake.wake(_records(), host, group)


def backup(path):
    """
    Back up the records of this machine to a file, mode 0600: it contains password hashes.

    path
        The file (absolute path; ``.tar.gz``). ISOs and images are not in it.

    Returns a map: ``file``, ``records`` (how many) and ``bytes``.

    Raises CommandExecutionError when nothing was applied yet, or the file cannot be written.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.backup /root/netboot.tar.gz
    """
    return netboot_backup.backup(_records(), path)


def restore(path):
    """
    Restore the records of a backup on a machine without records. Then apply the states.

    No host is armed afterwards, as what the backup says may have happened since; who has booted is
    kept. All tokens of armings are new.

    path
        The file (absolute path), see ``netboot.backup``.

    Returns a map: ``records`` (how many) and ``disarmed`` (names of the hosts that were armed).

    Raises CommandExecutionError when this machine has records, or the file is no backup.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.restore /root/netboot.tar.gz
    """
    return netboot_backup.restore(_records(), path)


def export(path, images=()):
    """
    Copy the verified ISOs of this machine to a directory, such as that of a disk that is carried to
    a machine without a network, with a file ``SHA256SUM``.

    Files that are there with the right digest are not copied again; a copy that was broken off is
    resumed. The images remain as they are.

    path
        The directory (absolute path).

    images : ()
        Names of images (list). Default: all.

    Returns a map: ``directory``, ``copied`` (bytes by file), ``there`` (files that were there),
    ``skipped`` (by image, why its ISO cannot be copied).

    Raises CommandExecutionError when nothing was applied yet, there is no such image or directory,
    or the disk is too small, of which nothing is written then.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.export /root/disk
    """
    return netboot_carry.export(_records(), path, [images] if isinstance(images, str) else images)


def import_(path):
    """
    Put ISOs into place that ``netboot.export`` copied to a directory, so that the next apply, which
    may be the first one, fetches nothing.

    Each has to match its checksum in the pillar and its digest in the directory's sum file.

    path
        The directory (absolute path).

    Returns a map: ``imported`` (bytes by file), ``there`` (files that were in place), ``missing``
    (images of the pillar that are in neither place), ``wrong`` (by file, what is wrong with it),
    ``unknown`` (files that the pillar does not name).

    Raises CommandExecutionError when the pillar has mistakes, or there is no such directory.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.import /root/disk
    """
    resolved = config() if "netboot" in __pillar__ else {"config": _records().config()}
    if resolved.get("problems"):
        raise CommandExecutionError(f"The pillar has mistakes: {'; '.join(resolved['problems'])}.")
    return netboot_carry.import_(_records(), resolved["config"], path)


def dhcp_hints(server=None):
    """
    Return what a foreign DHCP server needs so that its clients boot from this machine.

    For ``netboot:dhcp:mode: off``, where nothing on this machine answers DHCP. Only firmware with
    an installed boot loader is listed.

    server : None
        ``isc`` (ISC dhcpd), ``kea`` (Kea DHCPv4) or ``dnsmasq``: that server's configuration, as a
        string. ``table``: the answers for each kind of client, for any other server. Default: a
        map of all four.

    Raises SaltInvocationError for any other value, CommandExecutionError when nothing was applied
    to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.dhcp_hints server=isc --out=newline_values_only
        salt 'netboot*' netboot.dhcp_hints server=table
    """
    config = _records().config()
    there = [
        firmware
        for firmware in config["firmware"]
        if os.path.exists(os.path.join(config["paths"]["tftp"], firmware["file"]))
    ]
    hints = netboot_hints.hints({**config, "firmware": there})
    if server is not None and server not in hints:
        raise SaltInvocationError(
            f"There are no hints for {server!r}, only for {', '.join(sorted(hints))}."
        )
    return hints if server is None else hints[server]


def plan(clients=100, link=None):
    """
    Return how long clients take that boot together from this server, and what would help most.

    Arithmetic on the sizes of what the menu offers, not a measurement. Of a stage that clients
    mount, 400 MB are assumed to be read.

    clients : 100
        Their number.

    link : None
        Speed of the server's link in Mbit/s. Default: that of the interface; where that is not
        known, 1000 is assumed.

    Returns a map: ``clients``; ``link`` (map: ``interface``, ``mbit``, ``assumed``, ``mb_s``);
    ``tftp_mb_s`` (what dnsmasq sends); ``entries``, a list of maps: ``id``, ``image``,
    ``variant``, ``method``, ``loader``, ``kernel`` (with the initrd), ``stage`` and ``bytes`` (of
    all) that a client loads, ``assumed`` (whether the stage is), ``by_tftp`` (the kernel),
    ``tftp_s`` and ``minutes`` for all clients; ``memory`` (bytes of the menu's ``files``, and
    ``available`` for the page cache); ``clients_at_once`` (0: all) and the number that ``suits``;
    ``about`` (id of the default entry, else of the slowest) and ``advice`` on it, a list of
    sentences.

    Raises SaltInvocationError for other arguments, CommandExecutionError when nothing was applied
    to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.plan
        salt 'netboot*' netboot.plan clients=25 link=10000
    """
    return netboot_cache.plan(_records(), clients, link)


def check(probe=False, whole=False):
    """
    Check what was applied: what clients would not get, and what may keep them from booting.

    Asks the web server of this machine as clients do.

    probe : False
        Whether to try now what each kind of firmware gets from DHCP on, menus and all that the
        entries load; else what the last try found is returned, if nothing has changed since.
        DHCP servers are asked one question every two seconds; no address is taken.

    whole : False
        With ``probe``: compare files whole, by the digests on record, instead of samples.

    Returns a list of maps, the worst first: ``key`` (such as ``menu.missing``), ``severity``
    (``error``, ``warning``, ``info``) and ``text``; it is empty when nothing was found.

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.check
        salt 'netboot*' netboot.check probe=True
    """
    records = _records()
    records.config()
    told = []
    if probe or whole:
        tried = netboot_bootable.tried(records, asked=True, whole=whole)
        told = [one for one in netboot_bootable.findings(tried, told=True) if one[1] == "info"]
        netboot_snapshot.write(records)
    return _listed([*netboot_findings.findings(records), *told])


def expected(whole=False):
    """
    Return what clients should get from this machine, for ``netboot.probe`` on another one.

    whole : False
        Whether files are compared whole there, by the digests on record, instead of samples.

    Returns a map, see ``netboot_plan.plan``.

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.expected
    """
    return netboot_plan.plan(_records(), whole)


def probe(plan):
    """
    Try from this machine, which is no netboot server, what clients get from one.

    DHCP servers are asked on the interface that leads to it; no address is taken. ``./netboot check
    --from pc2`` does both steps.

    plan
        What ``netboot.expected`` returned there: a map, the path of a JSON file on this machine, or
        that JSON compressed by zlib, in base64.

    Returns a list as ``netboot.check``.

    Raises SaltInvocationError when the plan cannot be read, CommandExecutionError when no interface
    leads to that server.

    CLI Example:

    .. code-block:: bash

        salt 'pc2' netboot.probe /root/expected.json
    """
    return _listed(netboot_bootable.findings(netboot_elsewhere.tried(plan), told=True))


def _listed(findings):
    return [{"key": key, "severity": severity, "text": text} for key, severity, text in findings]


def firewall_rules():
    """
    List the commands that let clients through a hand-written firewall.

    Returns a list of commands, ready to paste; it is empty if nothing needs to be added, or if
    firewalld or ufw runs, which ``state.apply netboot.firewall`` configures.

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.firewall_rules
    """
    return netboot_rules.missing(_records().config())


def doctor(network=False):
    """
    Examine this machine: what keeps it from being a netboot server, or may.

    Looks at interfaces, ports, space, services, their configuration, what clients fetch, and all
    that ``netboot.check`` finds. Before anything was applied it looks at what the pillar wants.
    Takes up to 5 s, with ``network`` up to 20 s.

    network : False
        Whether to ask others, too: mirrors, name servers, proxies, and other servers that boot
        clients.

    Returns a list of maps as ``netboot.check``. What could not be looked at is a ``warning`` with
    the key ``look.failed``.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot.doctor
    """
    pillar = __pillar__.get("netboot")
    return _listed(netboot_doctor.examine(_records(), target(), pillar, config, network))
