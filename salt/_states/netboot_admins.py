"""
Accounts for the admins of a netboot server: ssh keys, and sudo.
"""

import os
import pwd
import tempfile

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import netboot_files
import netboot_run
from netboot_paths import SUDOERS
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_admins"

# What earlier versions wrote beside it, and a kill left there.
_UNCHECKED = f"{SUDOERS}.unchecked"
_SHELL = "/bin/bash"
_MANAGED = "# Managed by netboot-alt: changes are lost at the next apply.\n"
# Run as the account itself, so that links in its home cannot mislead root.
_READ_KEYS = 'cat "$HOME/.ssh/authorized_keys" 2>/dev/null || :'
_WRITE_KEYS = (
    'set -e; umask 077; mkdir -p "$HOME/.ssh"; cd "$HOME/.ssh"; '
    "cat > authorized_keys.netboot; mv authorized_keys.netboot authorized_keys"
)


def __virtual__():
    return __virtualname__


def present(name):
    """
    Ensure that these accounts accept their keys, and that accounts no longer listed have no access.

    An account that existed before only gets keys: sudo, groups and everything else are left to its
    owner. An account created by these states is removed when it is no longer listed; its home
    stays. The account from which sudo applies these states is never removed.

    name
        What is kept; only shown.

    ``changes`` contains each account, and the file for sudo, with what was done.

    .. code-block:: yaml

        netboot-admins:
          netboot_admins.present:
            - name: admins
    """
    config = Records.of(__opts__, __context__).config()
    return _in_step(name, config["admins"], config["platform"]["admins"]["groups"])


def absent(name):
    """
    Ensure that accounts and keys that these states added are removed. Homes stay.

    name
        Only shown.

    ``changes``: see ``present``.

    .. code-block:: yaml

        netboot-clean-admins:
          netboot_admins.absent:
            - name: admins
    """
    return _in_step(name, {}, ())


def _in_step(name, admins, groups):
    with State(name, "All accounts are in the desired state.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        known = records.owned("admins", {})
        gone = [user for user in known if user not in admins]
        applying = os.environ.get("SUDO_USER")
        if applying in gone:
            gone.remove(applying)
            state.warn(f"{applying} stays, as it applies these states; apply from another account.")
        # One by one: a broken home must not affect other accounts.
        steps = [(_let_in, user, admins[user], groups, known) for user in admins]
        steps += [(_write_sudoers, known, gone)]
        steps += [(_shut_out, user, known) for user in gone]
        wrong = []
        for step, *arguments in steps:
            try:
                step(*arguments, state, records)
            except (CommandExecutionError, OSError) as err:
                wrong.append(str(err))
        if state.changes:
            state.comment = f"Accounts {'would be' if state.test else 'were'} changed."
        if wrong:
            state.fail("\n".join(wrong))
    return state.ret


def _entry(user):
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None


def _let_in(user, wanted, groups, known, state, records):
    """Create the account if it does not exist, and add its keys; ``known`` is updated."""
    made = not _entry(user)
    record = {"uid": None, "keys": [], "sudo": False, **known.get(user, {})}
    record["sudo"] = (made or _is_ours(user, record)) and wanted["sudo"]
    there = [] if made else _keys(user)
    known_keys = {_key(line) for line in map(str.strip, there)}
    new = [key for key in wanted["keys"] if _key(key) not in known_keys]
    old = [key for key in record["keys"] if _key(key) not in map(_key, wanted["keys"])]
    record["keys"] = [*(key for key in record["keys"] if key not in old + new), *new]
    dropped = set(map(_key, old)) & known_keys
    if made or new or dropped:
        words = ["created"] * made + [f"{len(new)} keys added"] * bool(new)
        words += [f"{len(dropped)} keys removed"] * bool(dropped)
        state.done(user, ", ".join(words))
    if made and not state.test:
        _make(user, groups)
        record["uid"] = _entry(user).pw_uid
    changed, known[user] = known.get(user) != record, record
    if state.test:
        return
    if changed:
        records.write("owned", "admins", known)
    if new or dropped:
        _write_keys(user, [line for line in there if _key(line) not in dropped] + new)


def _is_ours(user, record):
    """Return whether it is the account that these states created, not a later foreign account."""
    entry = _entry(user)
    return entry is not None and record["uid"] == entry.pw_uid


def _make(user, groups):
    home = f"/home/{user}"
    uid = None
    if os.path.isdir(home):
        # A home of an earlier account: reuse its uid, unless another account has it.
        uid = os.lstat(home).st_uid
        if _has_account(uid):
            raise CommandExecutionError(f"{home} belongs to another account; move it for {user}.")
    existing = [group for group in groups if __salt__["group.info"](group)]
    if not __salt__["user.add"](user, uid=uid, groups=existing, home=home, shell=_SHELL):
        raise CommandExecutionError(f"The account {user} cannot be created; see the minion's log.")


def _has_account(uid):
    # Accounts of a directory service can be looked up, but not listed.
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def _keys(user):
    return _as(user, _READ_KEYS).splitlines()


def _write_keys(user, lines):
    _as(user, _WRITE_KEYS, "".join(f"{line}\n" for line in lines))


def _as(user, script, text=""):
    # Without login, so that nothing in the home runs; with a timeout, in case the home hangs.
    entry = _entry(user)
    rights = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    words = ["setpriv", *rights, "timeout", "10", "sh", "-c", script]
    done = netboot_run.tried(*words, text=text, HOME=entry.pw_dir)
    if done.returncode:
        raise CommandExecutionError(f"The keys of {user} cannot be changed: {done.stderr}")
    return done.stdout


def _key(line):
    """Return a key without its comment."""
    return tuple(line.split()[:2])


def _write_sudoers(known, gone, state, records):
    users = [
        user
        for user, record in known.items()
        if record["sudo"] and user not in gone and (_is_ours(user, record) or state.test)
    ]
    text = _MANAGED
    text += "".join(f"{user} ALL=(ALL:ALL) NOPASSWD: ALL\n" for user in sorted(users))
    before = netboot_files.read(SUDOERS)
    if before and not before.startswith(_MANAGED):
        if users:
            raise CommandExecutionError(f"{SUDOERS} is a foreign file; rename it.")
        return
    if users and before != text:
        state.done(SUDOERS, "written")
    elif not users and before is not None:
        state.done(SUDOERS, "removed")
    left = [*netboot_files.left_behind(SUDOERS), *netboot_files.left_behind(_UNCHECKED)]
    left += [_UNCHECKED] * os.path.lexists(_UNCHECKED)
    for path in left:
        state.done(path, "removed")
        if not state.test:
            os.unlink(path)
    if state.test or SUDOERS not in state.changes:
        return
    if not users:
        os.unlink(SUDOERS)
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as unchecked:
        unchecked.write(text)
        unchecked.flush()
        done = netboot_run.tried("visudo", "-c", "-f", unchecked.name)
    if done.returncode:
        raise CommandExecutionError(f"visudo rejects the new {SUDOERS}: {done.stderr}")
    staging = records.config()["paths"]["etc"]
    netboot_files.write(SUDOERS, text, 0o440, staging)


def _shut_out(user, known, state, records):
    record = known[user]
    if _is_ours(user, record):
        state.done(user, "removed")
        # Also while the user is logged in.
        if not state.test and not __salt__["user.delete"](user, force=True):
            raise CommandExecutionError(f"{user} cannot be removed; run userdel {user} to see why.")
    elif _entry(user):
        there = _keys(user)
        ours = set(map(_key, record["keys"]))
        kept = [line for line in there if _key(line) not in ours]
        state.done(user, f"{len(there) - len(kept)} keys removed")
        if kept != there and not state.test:
            _write_keys(user, kept)
    del known[user]
    if state.test:
        # Accounts keep the records from being removed, see netboot_clean.
        records.foretell("owned", "admins", dict(known))
    elif known:
        records.write("owned", "admins", known)
    else:
        records.remove("owned", "admins")
