"""
Packages on ALT Linux: Salt's ``pkg`` functions for apt-rpm, for which Salt has no provider.

What was installed or removed is read from rpm's database, as apt-rpm's exit codes are not reliable
(https://github.com/ansible-collections/community.general, ``apt_rpm``). Versions are
``EPOCH:VERSION-RELEASE``; what ALT adds to that, ``:p10+300891.100.2.1@1654002425`` (branch, task
and time of the build), is left out: a package that was rebuilt without a new release counts as the
same version.
"""

import fnmatch
import logging
import re

import salt.utils.data
import salt.utils.path
import salt.utils.pkg
import salt.utils.systemd
from salt.exceptions import CommandExecutionError, MinionError

log = logging.getLogger(__name__)

__virtualname__ = "pkg"

# This module needs none of the libraries of these states: it is Salt's pkg on any ALT.
_OS_RELEASE = "/etc/os-release"
_QUERY = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\n"
# More might not fit into a command line.
_NAMES_AT_ONCE = 2000


def __virtual__():
    try:
        with open(_OS_RELEASE, encoding="utf-8") as file:
            lines = [line.strip().partition("=") for line in file]
    except OSError:
        return False, f"{_OS_RELEASE} does not exist"
    values = {key: value.strip("'\"") for key, _, value in lines}
    kin = [values.get("ID", ""), *values.get("ID_LIKE", "").split()]
    if "altlinux" not in kin and not kin[0].startswith("alt-atomic"):
        return False, f"only for ALT Linux, by ID in {_OS_RELEASE}"
    missing = [one for one in ("apt-get", "apt-cache", "rpm") if not salt.utils.path.which(one)]
    if missing:
        return False, "{} not found".format(" and ".join(missing))
    return __virtualname__


def list_pkgs(versions_as_list=False, **kwargs):
    """
    List the installed packages.

    versions_as_list
        Return the versions of a package as a list, not joined by commas.

    kwargs
        ``removed`` and ``purge_desired`` return an empty map, as rpm keeps nothing of a removed
        package; others are ignored.

    Returns a map: name -> version. Kernels may have several.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.list_pkgs
    """
    if any(salt.utils.data.is_true(kwargs.get(key)) for key in ("removed", "purge_desired")):
        return {}
    if "pkg.list_pkgs" not in __context__:
        found = {}
        for line in _run(["rpm", "-qa", "--queryformat", _QUERY], failing=True).splitlines():
            name, _, full = line.partition("\t")
            if name != "gpg-pubkey":
                __salt__["pkg_resource.add_pkg"](found, name, _evr(full))
        __salt__["pkg_resource.sort_pkglist"](found)
        __context__["pkg.list_pkgs"] = found
    listed = {name: list(versions) for name, versions in __context__["pkg.list_pkgs"].items()}
    if not versions_as_list:
        __salt__["pkg_resource.stringify"](listed)
    return listed


def version(*names, **kwargs):
    """
    Return the version of an installed package; for several packages, a map by name.

    names
        Names of packages, or patterns such as ``python3*``.

    kwargs
        As for ``list_pkgs``.

    A package that is not installed has an empty version.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.version nginx
    """
    return __salt__["pkg_resource.version"](*names, **kwargs)


def latest_version(*names, refresh=True, **kwargs):
    """
    Return the version that would be installed; for several packages, a map by name.

    names
        Names of packages.

    refresh
        Refresh the package lists first.

    kwargs
        Ignored.

    The version is empty if the newest version is installed, or if there is no such package.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.latest_version nginx
    """
    if salt.utils.data.is_true(refresh):
        refresh_db()
    known = _policy(names)
    latest = {name: _newer(name, known.get(name, {})) for name in names}
    return latest.get(names[0], "") if len(names) == 1 else latest


def upgrade_available(name, refresh=False, **kwargs):
    """
    Return True if there is a newer version of a package, or if it is not installed.

    name
        Name of the package.

    refresh
        Refresh the package lists first.

    kwargs
        Ignored.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.upgrade_available nginx
    """
    return latest_version(name, refresh=refresh) != ""


def list_upgrades(refresh=True, **kwargs):
    """
    List the installed packages that have a newer version.

    refresh
        Refresh the package lists first.

    kwargs
        Ignored.

    Returns a map: name -> newer version.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.list_upgrades
    """
    if salt.utils.data.is_true(refresh):
        refresh_db()
    known = _policy(list_pkgs())
    newer = {name: _newer(name, policy) for name, policy in known.items()}
    return {name: one for name, one in newer.items() if one}


def list_repo_pkgs(*args, refresh=False, **kwargs):
    """
    List the versions in the repositories, the newest first.

    args
        Names of packages, patterns such as ``python3*``, or conditions such as ``samba>=4.20`` and
        ``nginx=1.26.2-alt1``. Default: all packages.

    refresh
        Refresh the package lists first.

    kwargs
        Ignored.

    Returns a map: name -> list of versions. It includes installed packages that are no longer in a
    repository.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.list_repo_pkgs nginx
        salt '*' pkg.list_repo_pkgs 'samba>=4.20'
    """
    if salt.utils.data.is_true(refresh):
        refresh_db()
    conditions = {}
    for arg in args or ("*",):
        name, condition = re.fullmatch(r"([^<>=!]+)(.*)", str(arg)).groups()
        for match in fnmatch.filter(_names(), name) if "*" in name else [name]:
            conditions[match] = condition
    return {
        name: [_evr(full) for full in _matching(policy["versions"], conditions[name])]
        for name, policy in _policy(conditions).items()
    }


def refresh_db(**kwargs):
    """
    Refresh the package lists of all repositories.

    kwargs
        Ignored.

    Returns a map: URL -> True if it was fetched, False if it has not changed, None if it failed.

    Raises CommandExecutionError when apt-get reports that the lists are not usable.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.refresh_db
    """
    # Otherwise every pkg state of this run would refresh again.
    salt.utils.pkg.clear_rtag(__opts__)
    asked = {}
    for line in _run(["apt-get", "update"], failing=True).splitlines():
        found = re.fullmatch(r"(Get|Hit|Ign|Err)(?::\d+)? (\S+://.*?|\S+:/.*?)( \[\S+\])?", line)
        if found:
            asked[found.group(2)] = {"Get": True, "Err": None}.get(found.group(1), False)
    return asked


def install(
    name=None, refresh=False, pkgs=None, sources=None, reinstall=False, ignore_epoch=None, **kwargs
):
    """
    Install packages, or up- or downgrade them to a version.

    name
        Name of a package; ignored when there are ``pkgs`` or ``sources``.

    refresh
        Refresh the package lists first.

    pkgs
        List of names, or of maps name -> version. A version may be a pattern or a condition:
        ``1.26*``, ``>=1.26``.

    sources
        List of maps: name -> rpm file, as an absolute path or a URL (``salt://``, ``https://``).

    reinstall
        Reinstall packages that are already installed.

    ignore_epoch
        Compare versions without their epochs.

    kwargs
        ``version`` is that of ``name``; others are ignored.

    Returns the changes: a map name -> ``old`` and ``new``, versions.

    Raises CommandExecutionError when they are not installed afterwards.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.install nginx
        salt '*' pkg.install pkgs='[nginx, {samba: ">=4.20"}]'
    """
    try:
        wanted, kind = __salt__["pkg_resource.parse_targets"](name, pkgs, sources, **kwargs)
    except MinionError as err:
        raise CommandExecutionError(str(err)) from err
    if not wanted:
        return {}
    if salt.utils.data.is_true(refresh):
        refresh_db()
    if kind == "file":
        targets = wanted
        wanted = {
            _run(["rpm", "-qp", "--queryformat", "%{NAME}", file], failing=True): None
            for file in wanted
        }
    else:
        targets = _targets(wanted, ignore_epoch)
    options = ["--reinstall"] if reinstall else []
    old = list_pkgs()
    said, changes = _change(["install", *options, *targets], old)
    new = list_pkgs(versions_as_list=True)
    missing = [one for one, spec in wanted.items() if not _fulfilled(new, one, spec, ignore_epoch)]
    if missing:
        _fail("installing", missing, said, changes)
    if reinstall:
        for one in set(wanted) & set(old):
            changes.setdefault(one, {"old": old[one], "new": old[one]})
    return changes


def _targets(wanted, ignore_epoch):
    """Return the packages as arguments for apt-get, with complete versions."""
    known = _policy([name for name, spec in wanted.items() if spec])
    targets, errors = [], []
    for name, spec in wanted.items():
        if not spec:
            targets.append(name)
            continue
        versions = known.get(name, {"versions": []})["versions"]
        found = _matching(versions, spec, ignore_epoch)
        if found:
            targets.append(f"{name}={found[0]}")
        else:
            has = ", ".join(_evr(full) for full in versions) or "none"
            errors.append(f"There is no version {spec} of {name}; the repositories have {has}.")
    if errors:
        raise CommandExecutionError(
            "Problem encountered installing package(s)", info={"errors": errors, "changes": {}}
        )
    return targets


def _fulfilled(installed, name, spec, ignore_epoch):
    if name in installed:
        return not spec or bool(_matching(installed[name], spec, ignore_epoch))
    # Not the name of a package, but something that a package provides.
    return (
        not spec
        and __salt__["cmd.retcode"](
            ["rpm", "-q", "--whatprovides", name], python_shell=False, ignore_retcode=True
        )
        == 0
    )


def remove(name=None, pkgs=None, **kwargs):
    """
    Remove packages, and the packages that depend on them.

    name
        Name of a package; ignored when there are ``pkgs``.

    pkgs
        List of names.

    kwargs
        Ignored.

    Returns the changes: a map name -> ``old`` and ``new``, versions.

    Raises CommandExecutionError when they are still installed afterwards.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.remove nginx
    """
    try:
        wanted = __salt__["pkg_resource.parse_targets"](name, pkgs)[0] or {}
    except MinionError as err:
        raise CommandExecutionError(str(err)) from err
    old = list_pkgs()
    targets = [one for one in wanted if one in old]
    if not targets:
        return {}
    said, changes = _change(["remove", *targets], old)
    left = [one for one in targets if one in list_pkgs()]
    if left:
        _fail("removing", left, said, changes)
    return changes


def purge(name=None, pkgs=None, **kwargs):
    """
    The same as ``remove``: rpm does not keep the configuration of removed packages.

    name, pkgs, kwargs
        As for ``remove``.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.purge nginx
    """
    return remove(name=name, pkgs=pkgs, **kwargs)


def upgrade(refresh=True, pkgs=None, **kwargs):
    """
    Upgrade all packages (``apt-get dist-upgrade``), or some.

    refresh
        Refresh the package lists first.

    pkgs
        List of names: upgrade only these.

    kwargs
        Ignored.

    Returns the changes: a map name -> ``old`` and ``new``, versions. Kernels are left to ALT's
    ``update-kernel``, as apt-rpm itself does.

    Raises CommandExecutionError when it fails, or when there are upgrades but none was installed.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.upgrade
    """
    newer = list_upgrades(refresh=refresh)
    names = [one for one in newer if not pkgs or one in pkgs]
    if pkgs and not names:
        return {}
    old = list_pkgs()
    said, changes = _change(["install", *names] if pkgs else ["dist-upgrade"], old)
    if names and (said["retcode"] or not changes):
        _fail("upgrading", names, said, changes)
    return changes


def version_cmp(pkg1, pkg2, ignore_epoch=False, **kwargs):
    """
    Compare two versions as rpm does: -1, 0 or 1.

    pkg1, pkg2
        Versions. If one has no release, the other's is ignored.

    ignore_epoch
        Compare without the epochs.

    kwargs
        Ignored.

    Source: rpm's manual page rpm-version(7).

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.version_cmp 1:1.0-alt1 1.0-alt2
    """
    ours, theirs = (_split(one) for one in (pkg1, pkg2))
    parts = [] if ignore_epoch else [0]
    parts += [1, 2] if ours[2] and theirs[2] else [1]
    first, second = ([_sort_key(one[part]) for part in parts] for one in (ours, theirs))
    return (first > second) - (first < second)


def list_repos(**kwargs):
    """
    List the repositories, as lines of sources.list.

    kwargs
        Ignored.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.list_repos
    """
    lines = _apt_repo("list").splitlines()
    return [" ".join(line.split()) for line in lines if re.match(r"rpm(-src|-dir)?\s", line)]


def add_repo(source):
    """
    Add a repository: of a branch, of a task of ALT's build system, or any other.

    source
        Name of a branch (``p11``), number of a task (``281213``), or a line of sources.list.

    Its packages are known after ``pkg.refresh_db``. Returns the added lines.

    Raises CommandExecutionError when apt-repo did not add it.

    Source: apt-repo(8), https://www.altlinux.org/Apt-repo

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.add_repo 281213
    """
    before = list_repos()
    said = _apt_repo("add", str(source))
    after = list_repos()
    if not _naming(source, after):
        raise CommandExecutionError(f"apt-repo did not add {source}: {_last(said)}")
    return [line for line in after if line not in before]


def remove_repo(source):
    """
    Remove a repository.

    source
        As for ``add_repo``, or ``all``.

    Returns the removed lines.

    Raises CommandExecutionError when apt-repo did not remove it.

    CLI Example:

    .. code-block:: bash

        salt '*' pkg.remove_repo 281213
    """
    before = list_repos()
    said = _apt_repo("rm", str(source))
    after = list_repos()
    if after if source == "all" else _naming(source, after):
        raise CommandExecutionError(f"apt-repo did not remove {source}: {_last(said)}")
    return [line for line in before if line not in after]


def _apt_repo(*words):
    if not salt.utils.path.which("apt-repo"):
        raise CommandExecutionError("apt-repo is not installed; install the package apt-repo.")
    return _run(["apt-repo", *words])


def _naming(source, lines):
    name = re.escape(" ".join(str(source).split()))
    return [line for line in lines if re.search(rf"(?<![\w.]){name}(?![\w.])", line, re.I)]


def _run(command, failing=False):
    """Return a command's output with errors; if `failing`, raise an error when it fails."""
    done = _run_all(command)
    if failing and done["retcode"]:
        raise CommandExecutionError(f"{' '.join(command[:2])} failed: {_last(_said(done))}")
    return done["stdout"] if failing else _said(done)


def _run_all(command):
    return __salt__["cmd.run_all"](
        command,
        python_shell=False,
        output_loglevel="trace",
        ignore_retcode=True,
        # Output in English; and no input, so that no question waits for an answer.
        env={"LC_ALL": "C", "LANGUAGE": ""},
        stdin="",
    )


def _said(done):
    return f"{done['stdout']}\n{done['stderr']}"


def _last(said):
    """Return the errors in an output; if there are none, its last lines."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return " ".join([line for line in lines if line.startswith(("E:", "error:"))] or lines[-3:])


def _change(words, old):
    """Run apt-get to change packages. Returns its outcome, and the changes according to rpm."""
    command = ["apt-get", "-y", *words]
    if (
        salt.utils.systemd.booted(__context__)
        and salt.utils.systemd.has_scope(__context__)
        and __salt__["config.get"]("systemd.scope", True)
    ):
        # So that it survives an upgrade of the minion itself.
        command = ["systemd-run", "--scope", *command]
    done = _run_all(command)
    __context__.pop("pkg.list_pkgs", None)
    return done, salt.utils.data.compare_dicts(old, list_pkgs())


def _fail(doing, names, done, changes):
    errors = f"{', '.join(sorted(names))}: {_last(_said(done))}"
    raise CommandExecutionError(
        f"Problem encountered {doing} package(s)", info={"errors": [errors], "changes": changes}
    )


def _names():
    return _run(["apt-cache", "pkgnames"], failing=True).split()


def _policy(names):
    """Return ``candidate`` and ``versions`` (newest first) of packages, by name.

    Versions are complete, with branch, task and time of the build.
    """
    names, known = list(names), {}
    for start in range(0, len(names), _NAMES_AT_ONCE):
        said = _run(["apt-cache", "policy", *names[start : start + _NAMES_AT_ONCE]])
        for line in said.splitlines():
            if re.fullmatch(r"\S+:", line):
                known[line[:-1]] = policy = {"candidate": "", "versions": []}
            elif line.startswith("  Candidate: ") and not line.endswith(" (none)"):
                policy["candidate"] = line.split()[1]
            elif re.match(r" (\*\*\*|   ) \S", line):
                policy["versions"].append(line.replace("***", "").split()[0])
    for policy in known.values():
        policy["versions"].sort(key=_whole_key, reverse=True)
    return {name: policy for name, policy in known.items() if policy["versions"]}


def _newer(name, policy):
    """Return the candidate if it is newer than the installed version."""
    candidate = _evr(policy.get("candidate", ""))
    installed = list_pkgs(versions_as_list=True).get(name, [])
    return "" if any(version_cmp(one, candidate) >= 0 for one in installed) else candidate


def _matching(versions, spec, ignore_epoch=None):
    """Return the versions that match all conditions, such as ``>=4.19,<4.21``; or a pattern."""
    for condition in filter(None, str(spec).split(",")):
        operator, wanted = re.fullmatch(r"\s*([<>=!]*)\s*(.*?)\s*", condition).groups()
        if operator not in _OPERATORS:
            raise CommandExecutionError(f"{condition!r} is not a valid version condition.")
        # As Salt's states do: a version without epoch matches any epoch, except in a comparison.
        no_epoch = ":" not in wanted and operator in ("", "=", "==")
        ignore = no_epoch if ignore_epoch is None else ignore_epoch
        versions = [
            one
            for one in versions
            if operator in ("", "=", "==")
            and fnmatch.fnmatch(_evr(one), wanted)
            or version_cmp(one, wanted, ignore_epoch=ignore) in _OPERATORS[operator]
        ]
    return versions


#: Results of version_cmp that match.
_OPERATORS = {
    "": (0,),
    "=": (0,),
    "==": (0,),
    "!=": (-1, 1),
    "<>": (-1, 1),
    "<": (-1,),
    "<=": (-1, 0),
    ">": (1,),
    ">=": (0, 1),
}

# [EPOCH:]VERSION[-RELEASE][:BRANCH+TASK][@BUILDTIME]
_WHOLE = re.compile(r"(?:(\d+):)?([^-:@]*)(?:-([^:@]*))?(?::([^@]*))?(?:@(\d+))?")


def _split(whole):
    found = _WHOLE.fullmatch(str(whole))
    if not found:
        raise CommandExecutionError(f"{whole!r} is not a package version.")
    epoch, number, release, _branch, built = found.groups()
    return epoch or "0", number, release or "", built or "0"


def _evr(whole):
    epoch, number, release, _built = _split(whole)
    return ("" if epoch == "0" else f"{epoch}:") + number + (f"-{release}" if release else "")


def _whole_key(whole):
    return [_sort_key(part) for part in _split(whole)]


def _sort_key(text):
    """Return a list that compares as rpm compares such parts of versions."""
    key = []
    for number, letters, sign in re.findall(r"(\d+)|([A-Za-z]+)|([~^])", text):
        if sign:
            key.append((0,) if sign == "~" else (2,))
        else:
            key.append((4, int(number)) if number else (3, letters))
    return [*key, (1,)]
