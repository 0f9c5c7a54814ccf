"""ISOs carried on a disk to machines without a network: copied to it, put into place from it."""

import contextlib
import sys
import threading

from . import views
from .asking import AskError

_EVERY_S = 5


def export(asker, path, images):
    """Copy those of a server; on a terminal with progress."""
    with _progress(asker, f"{path}/.netboot"):
        return asker.ask("netboot.export", path, **({"images": images} if images else {}))


def import_(asker, path):
    """Put them into place."""
    staging = None
    if sys.stderr.isatty():
        with contextlib.suppress(AskError, KeyError, TypeError, StopIteration):
            # Before the first apply there is no other way to know it.
            answer = next(iter(asker.ask("netboot.config").values()))
            staging = answer["config"]["paths"]["staging"]
    with _progress(asker, staging):
        return asker.ask("netboot.import", path)


@contextlib.contextmanager
def _progress(asker, staging):
    """Say how far copies are, while the block runs."""
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(asker.beside_an_apply(), staging, done))
    if staging and sys.stderr.isatty():
        watch.start()
    try:
        yield
    finally:
        done.set()
        if watch.is_alive():
            watch.join()


def _watch(asker, staging, done):
    while not done.wait(_EVERY_S):
        try:
            answers = asker.ask("iso_fetch.progress", staging)
        except AskError:
            continue
        for copies in answers.values():
            for one in copies:
                if one["running"] and not done.is_set():
                    print(f"{one['file']}: {views.rate(one)}", file=sys.stderr)
