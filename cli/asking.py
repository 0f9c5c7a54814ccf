"""Ask netboot servers by Salt: this machine, those of conf/roster, or a master's minions."""

import copy
import json
import os
import re
import subprocess

from .words import ours

# How Salt introduces what our functions say.
_BEFORE = re.compile(
    r"^\s*(\[[A-Z ]+\]\s*)?(ERROR: |Error running '[^']*': |Passed invalid arguments[^:]*: )+"
)


#: On its input salt-ssh deploys no key where one is refused; it would ask, unseen or of nobody.
DEPLOYS_NO_KEY = "n\n" * 1000


class AskError(Exception):
    """A machine gave no answer; the text says why, in a sentence. `answers`: those of others."""

    def __init__(self, why, answers=None):
        super().__init__(why)
        self.answers = answers or {}


class Asker:
    """
    What asks, and whom.

    program
        Path of ``salt-call``, ``salt-ssh`` or ``salt``.

    target
        The machines, for the last two.

    options
        Further options of the program.
    """

    def __init__(self, program, target=None, options=()):
        self._command = [program, "--out=json", "--log-level=error", *options]
        if target:
            self._command += ["--static", target]
        self._target = target
        #: Whether the machines' pillar is that of a master.
        self.by_master = program == "salt"

    def beside_an_apply(self):
        """
        Return one whose salt-ssh sends the machines no modules.

        Else it unpacks them over those that are there, and an apply finds half-written what it has
        not loaded yet (salt.client.ssh.Single.cmd_block, 3008.3).
        """
        other = copy.copy(self)
        program, *options = self._command
        if os.path.basename(program) == "salt-ssh":
            other._command = [program, "--config-dir=conf/unsent", *options]
        return other

    def ask(self, function, *arguments, **named):
        """Return what each machine returns, by its name; on this machine alone: by ``local``."""
        words = [*map(_word, arguments), *(f"{key}={_word(value)}" for key, value in named.items())]
        command = [*self._command, function, *words]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, input=DEPLOYS_NO_KEY
        )
        try:
            answers = json.loads(done.stdout[done.stdout.find("{") :])
        except ValueError:
            raise AskError(sentence(done.stderr) or sentence(done.stdout)) from None
        if not answers:
            raise AskError(f"No machine answers to {self._target}.")
        failed = {name: _fault(answer, done.returncode) for name, answer in answers.items()}
        said = [f"{name}: {why}" if self._target else why for name, why in failed.items() if why]
        if said:
            there = {name: answer for name, answer in answers.items() if not failed[name]}
            raise AskError("\n".join(said), there)
        return answers


def _word(value):
    """An argument as Salt's YAML reads it back unchanged."""
    return json.dumps(value) if not isinstance(value, str) or _is_other(value) else value


def _is_other(text):
    # Salt takes a text with "=" for an argument with a name, and others for YAML.
    return not re.fullmatch(r"[A-Za-z/][\w./*?-]*", text) or text.lower() in (
        "null",
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
    )


def _fault(answer, status):
    """What is wrong with an answer, or an empty string."""
    if isinstance(answer, dict) and {"retcode", "stderr"} <= set(answer):
        return sentence(answer["stderr"] or answer.get("stdout", "")) or "no answer"
    if status and isinstance(answer, str):
        return sentence(answer)
    return ""


def sentence(text):
    """The first sentence of what Salt prints about an error, without what it puts around it."""
    for line in text.splitlines():
        plain = _BEFORE.sub("", line).strip()
        if plain and not plain.startswith(("Traceback", "File ", "[WARNING")):
            return ours(re.sub(r"([.?])\.$", r"\1", plain))
    return ""
