"""
Accounts for the people who look after a netboot server: keys for ssh, and sudo.
"""

import os
import pwd

from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_admins"

_SUDOERS = "/etc/sudoers.d/netboot"
_SHELL = "/bin/bash"
# Run as the account itself, so that no link in its home leads root astray.
_READ_KEYS = 'cat "$HOME/.ssh/authorized_keys" 2>/dev/null || :'
_WRITE_KEYS = (
    'set -e; umask 077; mkdir -p "$HOME/.ssh"; cd "$HOME/.ssh"; '
    "cat > authorized_keys.netboot; mv authorized_keys.netboot authorized_keys"
)


def __virtual__():
    return __virtualname__


def present(name, admins, groups=()):
    """
    Ensure that these people can log in with their keys, and nobody whom these states let in before.

    An account that was there before only gets keys: sudo, groups and all else are its owner's
    affair. Whom the states made an account loses it when it is no longer named; the home stays.
    The account that sudo was called from to apply this is never taken away.

    name
        Only shown.

    admins
        Map by the account's name: ``keys`` (list of public keys) and ``sudo`` (whether it may do
        all, without a password).

    groups
        More groups for accounts that are made, where they exist.

    ``changes`` has each account, and the file for sudo, with what was done.

    .. code-block:: yaml

        netboot-admins:
          netboot_admins.present:
            - name: admins
            - admins: {alice: {keys: [ssh-ed25519 AAAA...], sudo: true}}
    """
    return _in_step(name, admins, groups)


def absent(name):
    """
    Ensure that nobody can log in whom these states let in. Homes stay.

    name
        Only shown.

    ``changes`` is that of ``present``.

    .. code-block:: yaml

        netboot-clean-admins:
          netboot_admins.absent:
            - name: admins
    """
    return _in_step(name, {}, ())


def _in_step(name, admins, groups):
    ret = {"name": name, "result": True, "changes": {}, "comment": "All accounts are as wanted."}
    known = __salt__["netboot_records.read"]("owned", "admins") or {}
    gone = [user for user in known if user not in admins]
    applying = os.environ.get("SUDO_USER")
    if applying in gone:
        gone.remove(applying)
        ret["warnings"] = [f"{applying} stays, as it applies this; apply it as somebody else."]
    try:
        for user, wanted in admins.items():
            _let_in(user, wanted, groups, known, ret["changes"])
        sudoers = [user for user, record in known.items() if record["sudo"] and user not in gone]
        _write_sudoers(sudoers, ret["changes"])
        for user in gone:
            _shut_out(user, known, ret["changes"])
    except (CommandExecutionError, OSError) as err:
        ret.update(result=False, comment=str(err))
        return ret
    if ret["changes"]:
        ret["result"] = None if __opts__["test"] else True
        ret["comment"] = f"Accounts {'would be' if __opts__['test'] else 'were'} changed."
    return ret


def _entry(user):
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None


def _let_in(user, wanted, groups, known, changes):
    """Make the account, if there is none, and give it its keys; ``known`` is kept in step."""
    made = not _entry(user)
    # Made again, when somebody has removed it meanwhile.
    record = {"made": made, "keys": [], "sudo": False, **known.get(user, {})}
    record["made"] = record["made"] or made
    record["sudo"] = record["made"] and wanted["sudo"]
    there = [] if made else _keys(user)
    known_keys = {_key(line) for line in map(str.strip, there)}
    new = [key for key in wanted["keys"] if _key(key) not in known_keys]
    old = [key for key in record["keys"] if _key(key) not in map(_key, wanted["keys"])]
    record["keys"] = [*(key for key in record["keys"] if key not in old + new), *new]
    dropped = set(map(_key, old)) & known_keys
    if made or new or dropped:
        words = ["made"] * made + [f"{len(new)} keys added"] * bool(new)
        changes[user] = ", ".join(words + [f"{len(dropped)} keys removed"] * bool(dropped))
    changed, known[user] = known.get(user) != record, record
    if __opts__["test"]:
        return
    if changed:
        __salt__["netboot_records.write"]("owned", "admins", known)
    if made:
        _make(user, groups)
    if new or dropped:
        _write_keys(user, [line for line in there if _key(line) not in dropped] + new)


def _make(user, groups):
    home = f"/home/{user}"
    uid = None
    if os.path.isdir(home):
        # It had an account before: what is in it is still that one's, if nobody else's.
        uid = os.lstat(home).st_uid
        if uid == 0 or any(entry.pw_uid == uid for entry in pwd.getpwall()):
            raise CommandExecutionError(f"{home} is somebody else's; move it away for {user}.")
    existing = [group for group in groups if __salt__["group.info"](group)]
    if not __salt__["user.add"](user, uid=uid, groups=existing, home=home, shell=_SHELL):
        raise CommandExecutionError(f"The account {user} can't be made.")


def _keys(user):
    return _as(user, _READ_KEYS).splitlines()


def _write_keys(user, lines):
    _as(user, _WRITE_KEYS, "".join(f"{line}\n" for line in lines))


def _as(user, script, text=""):
    done = __salt__["cmd.run_all"](
        ["sh", "-c", script], python_shell=False, runas=user, cwd="/", stdin=text
    )
    if done["retcode"]:
        raise CommandExecutionError(f"The keys of {user} can't be changed: {done['stderr']}")
    return done["stdout"]


def _key(line):
    """A key without its remark."""
    return tuple(line.split()[:2])


def _write_sudoers(users, changes):
    text = "# Managed by netboot-alt: changes are lost at the next apply.\n"
    text += "".join(f"{user} ALL=(ALL:ALL) NOPASSWD: ALL\n" for user in sorted(users))
    before = __salt__["netboot_files.read"](_SUDOERS)
    if users and before != text:
        changes[_SUDOERS] = "written"
    elif not users and before is not None:
        changes[_SUDOERS] = "removed"
    if __opts__["test"] or _SUDOERS not in changes:
        return
    if not users:
        os.unlink(_SUDOERS)
        return
    # A name with a dot is none that sudo reads (sudoers(5)).
    unchecked = f"{_SUDOERS}.unchecked"
    __salt__["netboot_files.write"](unchecked, text, 0o440)
    done = __salt__["cmd.run_all"](["visudo", "-c", "-f", unchecked], python_shell=False)
    if done["retcode"]:
        os.unlink(unchecked)
        raise CommandExecutionError(f"visudo refuses what was to be {_SUDOERS}: {done['stderr']}")
    os.replace(unchecked, _SUDOERS)


def _shut_out(user, known, changes):
    record = known[user]
    there = _keys(user) if _entry(user) else []
    ours = set(map(_key, record["keys"]))
    kept = [line for line in there if _key(line) not in ours]
    if _entry(user):
        changes[user] = "removed" if record["made"] else f"{len(there) - len(kept)} keys removed"
    if __opts__["test"]:
        return
    if kept != there:
        _write_keys(user, kept)
    if record["made"] and _entry(user) and not __salt__["user.delete"](user):
        raise CommandExecutionError(f"{user} can't be removed; it may still be logged in.")
    del known[user]
    if known:
        __salt__["netboot_records.write"]("owned", "admins", known)
    else:
        __salt__["netboot_records.remove"]("owned", "admins")
