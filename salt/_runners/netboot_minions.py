"""
Accept the keys of minions that netboot servers install.

A netboot server makes a pair of keys for each host that it arms, puts the public halves into its
mine, and sends an event for each. ``salt://reactor/netboot_minions.sls`` passes that to ``accept``.
Three things decide, none of which a minion can set for another:

- the pillar of the netboot server, as this master compiles it, names the host;
- the mine of the netboot server, kept by the id that the master has verified, has this very key:
  the id of an event is not enough, as a minion can send events with any ``id`` in them. Masters
  that take mines of senders that they do not verify (``minimum_auth_version`` below 3, or Salt
  before 3006.17 and 3007.9) accept nothing;
- the state of the key here: what an admin has rejected stays rejected, and a key in use is only
  replaced once the host is installed and its old minion is gone.

Options of the master: ``netboot.servers``, patterns of the ids of netboot servers (default
``netboot*``), and ``netboot.key_hours``, for how long after its first event a key may replace an
accepted one (default 192: hosts are armed for 7 days, and the install may take one more).

The runner imports nothing of these states, so it loads wherever it was synced to.
"""

import base64
import binascii
import fnmatch
import hashlib
import logging
import os
import re
import socket
import tempfile
import time

import salt.cache
import salt.client
import salt.config
import salt.key
import salt.pillar
import salt.utils.event
import salt.utils.minions
import salt.utils.network

log = logging.getLogger(__name__)

__virtualname__ = "netboot_minions"

_MINE = "netboot_minion_keys"
_BANK = "netboot/minions"
# A minion's mine arrives besides its events.
_MINE_S = 8
_PING_S = 5
_HOURS = 192
_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?"
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")  # RFC 3279: rsaEncryption, NULL
_LONGEST = 4000
_BEFORE = "it was accepted before"


def __virtual__():
    return __virtualname__


def accept(id_, pub, netboot):
    """
    Accept the key of a minion that a netboot server installs, if all of these hold:

    - the pillar of the netboot server, as this master compiles it, names a host with ``install``
      that becomes this minion, and its install has ``salt:master``;
    - no other netboot server names it, and it is not a netboot server, the sender, or the minion
      of the master itself;
    - the key is one of RSA with at least 2048 bits, and the netboot server has it in its mine;
    - no admin has rejected the minion, and no minion with another key waits to be accepted;
    - an accepted key of the minion is replaced only for ``netboot.key_hours`` after the first event
      for the new key, only once the mine says that the host is installed (until then its old system
      may come back), and only if the minion with the old key does not answer.

    What the master has denied decides nothing: whoever asks with a wrong key fills that. It is
    removed if it is this very key, which was sent before it was accepted.

    id_
        The id of the minion.

    pub
        Its public key, a PEM text.

    netboot
        The id of the netboot server, as it is on the event.

    Returns one line: what was decided and why. It is also logged, and the netboot server stops
    sending a key that was accepted. An event ``netboot/minion/accepted`` or
    ``netboot/minion/refused`` has ``id``, ``netboot``, ``finger`` and ``why``.

    CLI Example:

    .. code-block:: bash

        salt-run netboot_minions.accept pc1 "$(cat pc1.pub)" netboot1
    """
    key, why = _decided(id_, pub, netboot)
    done = not why or why == _BEFORE
    finger = _finger(key)
    line = (
        f"{_shown(netboot)} asks for minion {_shown(id_)}, fingerprint {finger or 'none'}: "
        f"{'accepted' if done else 'not accepted'}{why and f', {why}'}"
    )
    log.warning("netboot_minions: %s", line)
    with salt.utils.event.get_master_event(__opts__, __opts__["sock_dir"], listen=False) as bus:
        told = {"id": _shown(id_), "netboot": _shown(netboot), "finger": finger, "why": why}
        bus.fire_event(told, f"netboot/minion/{'accepted' if done else 'refused'}")
    if done:
        with salt.client.get_local_client(mopts=__opts__) as client:
            client.cmd_async(
                [netboot],
                "netboot.send_events",
                tgt_type="list",
                kwarg={"answered": {id_: finger}},
            )
    return line


def _decided(id_, pub, netboot):
    """Accept a key or not; return it as this master writes it, and why not."""
    key = _rsa_key(pub)
    if not _is_plain(netboot) or not _is_plain(id_):
        return key, "an id is not plain"
    if _hours() is None:
        return key, "netboot.key_hours of this master is not a number of hours"
    if not _verifies_senders():
        return key, "this master lets minions pass for each other: it needs minimum_auth_version: 3"
    if "minions" not in _keys(netboot):
        return key, f"{netboot} is not an accepted minion"
    why = _refusal(id_, key, netboot, _pillars(id_, netboot), _own_ids(), _patterns())
    if why:
        return key, why
    mine = _in_mine(netboot, id_, key)
    if mine is None:
        return key, f"the mine of {netboot} does not have this key"
    cache, now = salt.cache.Cache(__opts__), time.time()
    seen = cache.fetch(_BANK, id_) or {}
    if seen.get("finger") != _finger(key) or seen.get("netboot") != netboot:
        seen = {"finger": _finger(key), "netboot": netboot, "at": int(now)}
        cache.store(_BANK, id_, seen)
    there = _keys(id_)
    step = _step(there, key, now - seen["at"], _hours(), mine.get("installed") is True)
    if step == "replace":
        step = "the minion with the accepted key is connected" if _answers(id_) else "accept"
    if step == "accept":
        _store(id_, key)
    denied = _denied(there)
    if step in ("accept", _BEFORE) and any(_same(one, key) for one in denied):
        _store_denied(id_, [one for one in denied if not _same(one, key)])
    return key, "" if step == "accept" else step


# -- the decision, without a master ----------------------------------------------------------------


def _refusal(id_, key, netboot, pillars, own, patterns):
    """
    Return why a netboot server may not have a key accepted, or an empty string.

    id_, key, netboot
        The minion, its key as ``_rsa_key`` returns it, the netboot server.

    pillars
        The pillars of these two, and of all other netboot servers, by id.

    own
        What the minion of the master may be called.

    patterns
        Of the ids of netboot servers.
    """
    if not _is_plain(id_) or not _is_plain(netboot):
        return "an id is not plain"
    if not key:
        return "it is not an RSA key of at least 2048 bits, as a PEM text"
    if id_.lower() == netboot.lower():
        return "it asks for itself"
    if id_.lower() in {one.lower() for one in own}:
        return "that is the minion of the master"
    if any(fnmatch.fnmatchcase(id_.lower(), pattern.lower()) for pattern in patterns):
        return "the id is one of netboot servers (netboot.servers)"
    pillar = pillars.get(netboot)
    if not isinstance(pillar, dict) or pillar.get("_errors"):
        return f"the pillar of {netboot} has errors"
    if isinstance(pillars.get(id_), dict) and pillars[id_].get("netboot"):
        return "that minion is a netboot server"
    if id_ not in _minions(pillar, installed=True):
        return f"the pillar of {netboot} names no host that is installed as this minion"
    for other, theirs in pillars.items():
        if other not in (id_, netboot) and id_ in _minions(theirs):
            return f"{other} names this host, too"
    return ""


def _minions(pillar, installed=False):
    """
    Return the ids that the hosts of a netboot server have as minions.

    Like ``netboot_host_scripts`` on the server; the pillar may be anything.

    pillar
        The whole pillar of a server that arms hosts; of others, none are.

    installed
        Only those of hosts that are installed as minions.
    """
    netboot = _map(_map(pillar).get("netboot"))
    if netboot.get("arms", True) is not True:
        return set()
    groups, installs = _map(netboot.get("groups")), _map(netboot.get("installs"))
    found = set()
    for name, host in _map(netboot.get("hosts")).items():
        host, name = _map(host), str(name)
        group = _map(groups.get(str(host.get("group"))))
        if "entry" in host:
            group = {key: value for key, value in group.items() if key != "install"}
        settings = {**group, **host}
        salted = _map(_map(installs.get(str(settings.get("install")))).get("salt"))
        if not installed or ("install" in settings and salted.get("master")):
            found.add(str(settings.get("hostname", _named(name))))
    return found


def _named(name):
    """Return the id of a minion whose host has no other name; a MAC address or UUID is none."""
    mac = re.fullmatch(r"([0-9A-Fa-f]{2}[:.-]?){5}[0-9A-Fa-f]{2}", name)
    uuid = re.fullmatch(r"[0-9A-Fa-f]{8}-?([0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}", name)
    return f"pc-{name.lower().replace(':', '-')}" if mac or uuid else name


def _step(there, key, age_s, hours, installed):
    """
    Return what is done with a key that may be accepted: ``accept``, ``replace`` (if the minion is
    gone), or why nothing is done.

    there
        Keys of this id on the master, by state.

    key, age_s
        The key, and seconds since the first event for it.

    hours
        For how long it may replace an accepted one.

    installed
        Whether the host is installed.
    """
    if "minions_rejected" in there:
        return "an admin has rejected this minion (salt-key -d removes that)"
    accepted = there.get("minions")
    if accepted is not None and _same(accepted, key):
        return _BEFORE
    if accepted is not None:
        if age_s >= hours * 3600:
            return f"another key is accepted, and this one is older than {hours} hours; arm again"
        return "replace" if installed else "another key is accepted until the host is installed"
    if "minions_pre" in there and not _same(there["minions_pre"], key):
        return "another key waits for this minion"
    return "accept"


def _rsa_key(text):
    """Return a public RSA key of at least 2048 bits as OpenSSL writes it, or an empty string."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        return ""
    found = re.fullmatch(
        r"-----BEGIN PUBLIC KEY-----\n([A-Za-z0-9+/=\n]+)\n-----END PUBLIC KEY-----\s*", text
    )
    try:
        der = base64.b64decode((found[1] if found else "").replace("\n", ""), validate=True)
    except binascii.Error:
        return ""
    try:
        outer = _element(der, 0x30)
        if not outer[: len(_RSA)] == _RSA:
            return ""
        bits = _element(outer[len(_RSA) :], 0x03)
        numbers = _element(bits[1:], 0x30)
        size = _size(numbers, 0x02)
        modulus, exponent = (
            int.from_bytes(_element(one, 0x02), "big") for one in (numbers[:size], numbers[size:])
        )
    except (ValueError, IndexError):
        return ""
    usable = 2048 <= modulus.bit_length() <= 16384 and modulus % 2
    if (
        not usable
        or not (3 <= exponent < 2**32 and exponent % 2)
        or _encoded(modulus, exponent) != der
    ):
        return ""
    body = base64.encodebytes(der).decode().replace("\n", "")
    lines = "\n".join(re.findall(".{1,64}", body))
    return f"-----BEGIN PUBLIC KEY-----\n{lines}\n-----END PUBLIC KEY-----\n"


def _size(der, tag):
    """Return how long the element of DER is that begins here."""
    if der[0] != tag:
        raise ValueError("another element")
    if der[1] < 0x80:
        return 2 + der[1]
    count = der[1] & 0x7F
    return 2 + count + int.from_bytes(der[2 : 2 + count], "big")


def _element(der, tag):
    """Return what is in the element of DER that these bytes are."""
    size = _size(der, tag)
    if size != len(der):
        raise ValueError("bytes too many or too few")
    head = 2 if der[1] < 0x80 else 2 + (der[1] & 0x7F)
    return der[head:]


def _encoded(modulus, exponent):
    """Return the only DER of a key: whatever else was around its numbers is not the same."""

    def element(tag, content):
        size = len(content)
        count = (size.bit_length() + 7) // 8
        head = bytes([size]) if size < 0x80 else bytes([0x80 | count]) + size.to_bytes(count, "big")
        return bytes([tag]) + head + content

    def number(value):
        return element(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    key = element(0x30, number(modulus) + number(exponent))
    return element(0x30, _RSA + element(0x03, b"\0" + key))


def _same(one, other):
    """Return whether two texts are the same key; ends of lines do not matter."""
    return isinstance(one, str) and one.split() == other.split()


def _denied(there):
    """Return the keys that the master has denied: one in files, a list in other stores."""
    denied = there.get("minions_denied", [])
    return [denied] if isinstance(denied, str) else list(denied)


def _finger(key):
    """Return the fingerprint of a key from ``_rsa_key`` as ``salt-key -f`` prints it."""
    body = "".join(key.splitlines(keepends=True)[1:-1])
    return ":".join(re.findall("..", hashlib.sha256(body.encode()).hexdigest())) if body else ""


def _is_plain(id_):
    return isinstance(id_, str) and ".." not in id_ and bool(re.fullmatch(_NAME, id_))


def _shown(id_):
    """Return an id for a line of a log, whatever it is."""
    return id_ if _is_plain(id_) else ascii(id_)[:80]


def _map(value):
    return value if isinstance(value, dict) else {}


# -- what this master knows ------------------------------------------------------------------------


def _patterns():
    patterns = __opts__.get("netboot.servers", ["netboot*"])
    return [str(one) for one in (patterns if isinstance(patterns, list) else [patterns])]


def _verifies_senders():
    """
    Return whether this master knows from whom a mine is: a minion that speaks an older version of
    Salt's protocol says by itself who it is (CVE-2025-62349).
    """
    known = "minimum_auth_version" in salt.config.DEFAULT_MASTER_OPTS  # since 3006.17, 3007.9
    return known and __opts__.get("minimum_auth_version", 0) >= 3


def _hours():
    """Return ``netboot.key_hours``, or None if that is not a number."""
    hours = __opts__.get("netboot.key_hours", _HOURS)
    return hours if type(hours) is int and hours >= 0 else None


def _own_ids():
    """Return what the minion on this machine may be called."""
    ids = {__opts__["id"], re.sub("_master$", "", __opts__["id"]), socket.gethostname()}
    ids.add(salt.utils.network.generate_minion_id())
    path = os.path.join(os.path.dirname(__opts__["conf_file"]), "minion")
    if os.path.isfile(path):
        ids.add(salt.config.minion_config(path, cache_minion_id=False)["id"])
    return {str(one) for one in ids}


def _keys(id_):
    """Return the keys of a plain id by state: minions, minions_pre, and so on."""
    with salt.key.get_key(__opts__) as keys:
        return {state: found[id_] for state, found in keys.key_str(id_).items() if id_ in found}


def _pillars(id_, netboot):
    """Return the pillars of a minion, a netboot server and all others, compiled now."""
    with salt.key.get_key(__opts__) as keys:
        accepted = keys.list_keys()["minions"]
    servers = {id_, netboot}
    for one in accepted:
        # The one that the master compiled last, if it keeps these.
        last = salt.utils.minions.get_minion_data(one, __opts__)[2]
        matches = any(fnmatch.fnmatchcase(one, pattern) for pattern in _patterns())
        if matches or "netboot" in _map(last):
            servers.add(one)
    return {one: _pillar(one) for one in servers}


def _pillar(id_):
    grains = salt.utils.minions.get_minion_data(id_, __opts__)[1] or {"id": id_}
    return salt.pillar.Pillar(__opts__, grains, id_, "base").compile_pillar()


def _in_mine(netboot, id_, key):
    """Return what a netboot server's mine has of this minion, or None if that is not this key."""
    end = time.monotonic() + _MINE_S
    while True:
        mine = _map(__salt__["mine.get"](netboot, _MINE, tgt_type="list")).get(netboot)
        found = _map(_map(mine).get(id_))
        if _rsa_key(found.get("pub")) == key:
            return found
        if time.monotonic() > end:
            return None
        time.sleep(0.5)


def _answers(id_):
    """Return whether a minion with the accepted key of this id is there."""
    with salt.client.get_local_client(mopts=__opts__) as client:
        # For a minion that does not answer there may be something else.
        said = client.cmd([id_], "test.ping", tgt_type="list", timeout=_PING_S)
        return said.get(id_) is True


def _store(id_, key):
    """Make this the accepted key of a minion, as ``salt.wheel.key.gen_accept`` does."""
    driver = __opts__.get("keys.cache_driver")
    if driver:  # since 3008
        cache = salt.cache.Cache(__opts__, driver=driver)
        cache.store("keys", id_, {"pub": key, "state": "accepted"})
    else:
        pki = __opts__["pki_dir"]
        # Not half of a key, and beside the directory: what is in it is a minion.
        handle, path = tempfile.mkstemp(dir=pki, prefix=".netboot-")
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key)
        os.chmod(path, 0o640 if __opts__.get("permissive_pki_access") else 0o600)
        os.replace(path, os.path.join(pki, "minions", id_))
        pending = os.path.join(pki, "minions_pre", id_)
        if os.path.isfile(pending):
            os.unlink(pending)


def _store_denied(id_, keys):
    """Leave these of the keys that the master has denied."""
    driver = __opts__.get("keys.cache_driver")
    if driver:  # since 3008
        cache = salt.cache.Cache(__opts__, driver=driver)
        if keys:
            cache.store("denied_keys", id_, keys)
        else:
            cache.flush("denied_keys", id_)
    elif not keys:
        os.unlink(os.path.join(__opts__["pki_dir"], "minions_denied", id_))
