"""
Accounts for the people who look after a netboot server: keys for ssh, and sudo.
"""

import os
import pwd

import netboot_fresh

netboot_fresh.forget_old()

import netboot_files
import netboot_run
from netboot_records import Records
from netboot_state import State
from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_admins"

_SUDOERS = "/etc/sudoers.d/netboot"
_SHELL = "/bin/bash"
_MANAGED = "# Managed by netboot-alt: changes are lost at the next apply.\n"
# Run as the account itself, so that no link in its home leads root astray.
_READ_KEYS = 'cat "$HOME/.ssh/authorized_keys" 2>/dev/null || :'
_WRITE_KEYS = (
    'set -e; umask 077; mkdir -p "$HOME/.ssh"; cd "$HOME/.ssh"; '
    "cat > authorized_keys.netboot; mv authorized_keys.netboot authorized_keys"
)


def __virtual__():
    return __virtualname__


def present(name):
    """
    Ensure that these people can log in with their keys, and nobody whom these states let in before.

    An account that was there before only gets keys: sudo, groups and all else are its owner's
    affair. Whom the states made an account loses it when it is no longer named; the home stays.
    The account that sudo was called from to apply this is never taken away.

    name
        What is kept; only shown.

    ``changes`` has each account, and the file for sudo, with what was done.

    .. code-block:: yaml

        netboot-admins:
          netboot_admins.present:
            - name: admins
    """
    config = Records.of(__opts__, __context__).config()
    return _in_step(name, config["admins"], config["platform"]["admins"]["groups"])


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
    with State(name, "All accounts are as wanted.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        known = records.owned("admins", {})
        gone = [user for user in known if user not in admins]
        applying = os.environ.get("SUDO_USER")
        if applying in gone:
            gone.remove(applying)
            state.warn(f"{applying} stays, as it applies this; apply it from another account.")
        # One by one: nobody's broken home may keep others in, or out.
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
    """Make the account, if there is none, and give it its keys; ``known`` is kept in step."""
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
        words = ["made"] * made + [f"{len(new)} keys added"] * bool(new)
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
    """Whether it is the account that these states made, not one that somebody made after them."""
    entry = _entry(user)
    return entry is not None and record["uid"] == entry.pw_uid


def _make(user, groups):
    home = f"/home/{user}"
    uid = None
    if os.path.isdir(home):
        # It had an account before: what is in it is still that one's, if nobody else's.
        uid = os.lstat(home).st_uid
        if _has_account(uid):
            raise CommandExecutionError(f"{home} is somebody else's; move it away for {user}.")
    existing = [group for group in groups if __salt__["group.info"](group)]
    if not __salt__["user.add"](user, uid=uid, groups=existing, home=home, shell=_SHELL):
        raise CommandExecutionError(f"The account {user} can't be made.")


def _has_account(uid):
    # Accounts of a directory service are found, but not listed.
    try:
        return bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def _keys(user):
    return _as(user, _READ_KEYS).splitlines()


def _write_keys(user, lines):
    _as(user, _WRITE_KEYS, "".join(f"{line}\n" for line in lines))


def _as(user, script, text=""):
    # No login, so nothing of the home is run; and a home that hangs ends.
    entry = _entry(user)
    rights = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    words = ["setpriv", *rights, "timeout", "10", "sh", "-c", script]
    done = netboot_run.tried(*words, text=text, HOME=entry.pw_dir)
    if done.returncode:
        raise CommandExecutionError(f"The keys of {user} cannot be changed: {done.stderr}")
    return done.stdout


def _key(line):
    """A key without its remark."""
    return tuple(line.split()[:2])


def _write_sudoers(known, gone, state, _records):
    users = [
        user
        for user, record in known.items()
        if record["sudo"] and user not in gone and (_is_ours(user, record) or state.test)
    ]
    text = _MANAGED
    text += "".join(f"{user} ALL=(ALL:ALL) NOPASSWD: ALL\n" for user in sorted(users))
    before = netboot_files.read(_SUDOERS)
    if before and not before.startswith(_MANAGED):
        if users:
            raise CommandExecutionError(f"{_SUDOERS} is somebody else's; give it another name.")
        return
    if users and before != text:
        state.done(_SUDOERS, "written")
    elif not users and before is not None:
        state.done(_SUDOERS, "removed")
    if state.test or _SUDOERS not in state.changes:
        return
    if not users:
        os.unlink(_SUDOERS)
        return
    # A name with a dot is none that sudo reads (sudoers(5)).
    unchecked = f"{_SUDOERS}.unchecked"
    netboot_files.write(unchecked, text, 0o440)
    done = netboot_run.tried("visudo", "-c", "-f", unchecked)
    if done.returncode:
        os.unlink(unchecked)
        raise CommandExecutionError(f"visudo refuses what was to be {_SUDOERS}: {done.stderr}")
    os.replace(unchecked, _SUDOERS)


def _shut_out(user, known, state, records):
    record = known[user]
    if _is_ours(user, record):
        state.done(user, "removed")
        # Whoever is logged in loses the account too.
        if not state.test and not __salt__["user.delete"](user, force=True):
            raise CommandExecutionError(f"{user} can't be removed; userdel {user} says why.")
    elif _entry(user):
        there = _keys(user)
        ours = set(map(_key, record["keys"]))
        kept = [line for line in there if _key(line) not in ours]
        state.done(user, f"{len(there) - len(kept)} keys removed")
        if kept != there and not state.test:
            _write_keys(user, kept)
    if state.test:
        return
    del known[user]
    if known:
        records.write("owned", "admins", known)
    else:
        records.remove("owned", "admins")
