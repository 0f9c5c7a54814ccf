"""
Keep the netboot site of nginx beside the machine's own sites, and check what clients get from it.
"""

import os

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import netboot_asked
import netboot_files
import netboot_nginx
import netboot_nginx_sites
import netboot_run
import netboot_templates
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_http"


def __virtual__():
    return __virtualname__


def _records():
    return Records.of(__opts__, __context__)


def _path(config):
    nginx = config["platform"]["nginx"]
    return os.path.join(nginx["directory"], nginx["site"])


def site_ready(name):
    """
    Fail if an existing nginx site conflicts with the netboot site, or a file that it needs is
    missing.

    name
        What is checked; only shown.

    Changes nothing. Sites that get requests which p10 and older send are named in a warning.

    .. code-block:: yaml

        netboot-http-ready:
          netboot_http.site_ready:
            - name: web server
    """
    with State(name, "There are no conflicts.", __opts__["test"]) as state:
        config = _records().config()
        http = config["http"]
        said = [
            f"{http[key]} (netboot:http:{key}) does not exist on this machine; copy it there."
            for key in ("certificate", "key")
            if http[key] and not os.path.isfile(http[key])
        ]
        try:
            # Under test=True nginx may not be installed yet.
            found = []
            if netboot_run.has("nginx"):
                found = netboot_nginx.findings(netboot_nginx.beside(config)[0], config)
        except (CommandExecutionError, OSError) as err:
            found = [("nginx.rejected", "error", str(err))]
        said += [text for _, severity, text in found if severity == "error"]
        state.warn(*(text for _, severity, text in found if severity == "warning"))
        notes = [text for _, severity, text in found if severity == "info"]
        state.comment = "\n".join([state.comment, *notes])
        if said:
            state.fail("\n".join(said))
    return state.ret


def site(name, source):
    """
    Ensure that nginx has the netboot site, checked within its whole configuration.

    It is the default server of its addresses, unless another site is: Debian's own default site is
    disabled, if nobody changed it, and comes back with ``site_absent``.

    name
        Path of the site.

    source
        ``salt://`` URL of its template.

    ``changes`` contains the difference, disabled and enabled sites, and what killed applies left.

    .. code-block:: yaml

        netboot-http-site:
          netboot_http.site:
            - name: /etc/nginx/sites-enabled/netboot.conf
            - source: salt://netboot/files/nginx.conf.jinja
    """
    with State(name, f"{name} is up to date.", __opts__["test"]) as state:
        records = _records()
        config = records.config()
        if state.test and not netboot_run.has("nginx"):
            state.plan({"diff": "New file"})
            state.comment = f"{name} would be updated."
            return state.ret
        beside, gone = netboot_nginx.beside(config)
        text = netboot_templates.text(
            source,
            __salt__["cp.cache_file"](source),
            config,
            __opts__,
            default=not netboot_nginx.defaults(beside.sites, config),
            nameless=not netboot_nginx.nameless(beside.sites, config),
        )
        nginx = config["platform"]["nginx"]
        if netboot_files.read(name) != text or gone:
            netboot_nginx.check(nginx["directory"], nginx["site"], text, gone)
        _disable(state, records, gone)
        try:
            netboot_templates.in_step(state, name, text, config["paths"]["etc"])
        except OSError:
            if not state.test:
                _enable(state, records, gone)
            raise
        if not gone:
            _enable(state, records, _free(records, config))
        _sweep_passwords(state, config)
    return state.ret


def _sweep_passwords(state, config):
    """Remove what killed applies left beside the passwords, which Salt's file.managed writes."""
    sweep = netboot_files.left_behind if state.test else netboot_files.sweep
    for left in sweep(config["paths"]["passwords"]):
        state.done(left, "removed")


def _disable(state, records, gone):
    """Remove links to sites, so that they can be restored; at no time are there two defaults."""
    if gone and not state.test:
        known = records.owned("nginx", {})
        # Before the links: after a kill, the next run must know what to restore.
        records.write("owned", "nginx", {**known, **{path: os.readlink(path) for path in gone}})
    for path in gone:
        state.done(path, "disabled")
        if not state.test:
            os.unlink(path)


def _enable(state, records, paths):
    """Restore links to sites."""
    known = dict(records.owned("nginx", {}))
    for path in paths:
        link = known.pop(path)
        there = os.path.exists(os.path.join(os.path.dirname(path), link))
        if there and not os.path.lexists(path):
            state.done(path, "enabled")
            if not state.test:
                os.symlink(link, path)
    if state.test or not paths:
        return
    if known:
        records.write("owned", "nginx", known)
    else:
        records.remove("owned", "nginx")


def _free(records, config):
    """List the disabled sites that the netboot site no longer replaces."""
    free = []
    for path, link in records.owned("nginx", {}).items():
        text = netboot_files.read(os.path.join(os.path.dirname(path), link)) or ""
        found = netboot_nginx_sites.sites(text)
        if not any(netboot_nginx.shares_port(one, config) for one in found):
            free.append(path)
    return free


def site_absent(name):
    """
    Ensure that nginx does not have the netboot site, and has the sites again that it replaced.

    name
        Path of the site.

    ``changes`` contains each path that was removed or restored.

    .. code-block:: yaml

        netboot-clean-site:
          netboot_http.site_absent:
            - name: /etc/nginx/sites-enabled/netboot.conf
    """
    with State(name, f"{name} does not exist.", __opts__["test"]) as state:
        records = _records()
        for path in filter(os.path.lexists, [name, *netboot_files.left_behind(name)]):
            state.done(path, "removed")
            if not state.test:
                os.unlink(path)
        _enable(state, records, list(records.owned("nginx", {})))
        _sweep_passwords(state, records.config())
        if state.changes:
            state.comment = f"{name} {state.would_be} removed."
    return state.ret


def answers(name, final=True):
    """
    Fail if the web server does not send a menu and a kernel to clients of this server.

    They are requested by the addresses that clients use, with and without ``Host:``. What is not on
    the disk yet is not requested.

    name
        What is checked; only shown.

    final : True
        False: the images are still to be prepared, so only the menu is requested.

    Changes nothing; under ``test=True`` nothing is requested.

    .. code-block:: yaml

        netboot-http-answers:
          netboot_http.answers:
            - name: web server
    """
    with State(name, "Clients get what they request.", __opts__["test"]) as state:
        if state.test:
            state.comment = "This can only be checked after the apply."
            return state.ret
        found = netboot_asked.findings(_records(), kernel=final)
        state.warn(*(text for _, severity, text in found if severity == "warning"))
        wrong = [text for _, severity, text in found if severity == "error"]
        if wrong:
            state.fail("\n".join(wrong))
    return state.ret
