"""
A masterless minion that answers calls: a line of JSON [function, arguments, keywords] each.

Run by itself, so that it can be put into a mount namespace with another /etc/os-release.
"""

import json
import sys

import salt.client
import salt.config


def main(folder, checkout):
    opts = salt.config.minion_config(None)
    opts.update(
        root_dir=folder,
        cachedir=f"{folder}/cache",
        extension_modules=f"{folder}/extmods",
        file_client="local",
        file_roots={"base": [f"{checkout}/salt"]},
        pillar_roots={"base": [f"{folder}/pillar"]},
        module_dirs=[f"{checkout}/salt"],
        id="altlike",
    )
    minion = salt.client.Caller(mopts=opts).sminion
    for line in sys.stdin:
        function, arguments, keywords = json.loads(line)
        # A state run has a loader and a context of its own, and a minion a process for each job.
        minion.functions.pack["__context__"].clear()
        try:
            answer = {"returned": minion.functions[function](*arguments, **keywords)}
        except Exception as err:  # noqa: BLE001 - the test has to see whatever came
            answer = {"raised": f"{type(err).__name__}: {err}"}
        print(json.dumps(answer), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
