"""
Files in directories that daemons read, written without a temporary file in these.

Salt's ``file.managed`` writes beside the file: what a kill leaves there may be read by the daemon.
"""

import os
import re

import netboot_fresh

netboot_fresh.forget_old()

import netboot_files
import netboot_libraries
import netboot_templates
import netboot_timer
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_file"


def __virtual__():
    return __virtualname__


def written(name, source):
    """
    Ensure that a file has the text of a template, mode 0644 and owner root.

    name
        Absolute path.

    source
        ``salt://`` URL of the template (Jinja). In it ``apply`` has what applies these states again
        on this machine, see ``netboot_timer.command``.

    ``changes`` contains the difference, and what killed applies left in the directory.

    .. code-block:: yaml

        netboot-once-unit:
          netboot_file.written:
            - name: /etc/systemd/system/netboot-once.service
            - source: salt://netboot/files/netboot-once.service.jinja
    """
    with State(name, f"{name} is up to date.", __opts__["test"]) as state:
        config = Records.of(__opts__, __context__).config()
        cached = __salt__["cp.cache_file"](source)
        apply = netboot_timer.command(__opts__)
        text = netboot_templates.text(source, cached, config, __opts__, apply=apply)
        netboot_templates.in_step(state, name, text, config["paths"]["etc"])
    return state.ret


def metrics(name, file):
    """
    Ensure that no file of metrics is left where ``netboot:metrics:file`` was before: what reads it
    would take it for news.

    name
        What is kept; only shown.

    file
        Where the file is now; empty if there is none.

    ``changes`` contains the path that was removed.

    .. code-block:: yaml

        netboot-status-metrics:
          netboot_file.metrics:
            - name: metrics
            - file: /var/lib/prometheus/node-exporter/netboot.prom
    """
    with State(name, "No old file of metrics is left.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        old = records.owned("metrics", {}).get("file", "")
        if old and old != file and os.path.exists(old):
            state.done(old, "removed")
            state.comment = f"{old} {state.would_be} removed."
            if not state.test:
                os.unlink(old)
        if old != file and not state.test:
            if file:
                records.write("owned", "metrics", {"file": file})
            else:
                records.remove("owned", "metrics")
    return state.ret


def copied(name, sources):
    """
    Ensure that a directory has copies of files of the state tree, mode 0644.

    name
        The directory, in which services look; it is made, with mode 0755.

    sources
        ``salt://`` URLs of the files.

    ``changes`` contains the files that were written.

    .. code-block:: yaml

        netboot-status-page:
          netboot_file.copied:
            - name: /var/lib/netboot-status/www
            - sources: [salt://netboot/files/page/page.css]
    """
    with State(name, "The files are up to date.", __opts__["test"]) as state:
        wanted = {
            os.path.basename(source): netboot_templates.read(
                source, __salt__["cp.cache_file"](source)
            )
            for source in sources
        }
        modes = netboot_files.opened([os.path.dirname(name), name], state.test)
        _in_step(state, name, wanted, modes)
    return state.ret


def _in_step(state, directory, wanted, modes, owned=()):
    files = netboot_files.difference(directory, wanted, owned)
    changes = {**modes, **files}
    if state.plan(changes):
        netboot_files.make_directory(directory)
        netboot_files.carry_out(directory, wanted, files, directory)
        netboot_files.sweep_directory(directory)
    if changes:
        state.comment = f"The files {state.would_be} updated."


def libraries(name, libraries):
    """
    Ensure that a directory has copies of these libraries, and of those that they import, for
    programs that run without Salt.

    name
        The directory.

    libraries
        Names of libraries of this project.

    ``changes`` contains the files that were written.

    .. code-block:: yaml

        netboot-status-libraries:
          netboot_file.libraries:
            - name: /usr/local/lib/netboot
            - libraries: [netboot_live]
    """
    with State(name, "The libraries are up to date.", __opts__["test"]) as state:
        wanted = netboot_libraries.sources(libraries)
        there = os.listdir(name) if os.path.isdir(name) else []
        owned = [file for file in there if re.fullmatch(r"netboot_\w+\.py", file)]
        _in_step(state, name, wanted, {}, owned)
    return state.ret
