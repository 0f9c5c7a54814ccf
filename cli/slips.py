"""Slips in the YAML and the Jinja of pillar files, before Salt reports them by a traceback."""

import difflib
import re
from pathlib import Path

try:
    import jinja2
    import yaml
except ImportError:  # of a Python that is not Salt's: then Salt reports the slips
    yaml = None

#: What PyYAML says, and what a person has to do.
_ADVICE = {
    "mapping values are not allowed here": "has a second colon; put the value in quotes",
    "found character '\\t' that cannot start any token": "has a tab; indent with spaces",
    "could not find expected ':'": "has no colon after its key, or a line above is not finished",
    "did not find expected key": "is indented differently from the lines above",
    "expected <block end>, but found '<block mapping start>'": "is indented too far",
    "expected <block end>, but found '<block sequence start>'": "is indented differently",
    "expected <block end>, but found '-'": "is indented differently from the lines above",
    "expected <block end>, but found '<scalar>'": "follows a quote that is not closed",
    "expected ',' or '}'": "lacks a comma, a bracket or the end of a quote, or the line above does",
    "expected ',' or ']'": "lacks a comma, a bracket or the end of a quote, or the line above does",
    "found unexpected end of stream": "opens a quote that nothing closes",
    "found undefined alias": "begins with *; put it in quotes",
}
#: The same of Jinja, which says more of nothing else.
_OPEN = "has a {{ or {% that is not closed by }} or %}, or the line above does"
_JINJA_ADVICE = {
    "unexpected '}'": _OPEN,
    "expected token 'end of print statement'": _OPEN,
    "Missing end of comment tag": "opens a comment by {# without #}",
    'unexpected char "\'"': "opens a quote that nothing closes",
    "unexpected char '\"'": "opens a quote that nothing closes",
}
_TAGS = ("if", "elif", "else", "endif", "for", "endfor", "set", "endset", "macro", "import", "from")
# Of salt.utils.jinja.SerializerExtension, which parses them and what they end with.
_SALTS_TAG = re.compile(r"unknown tag '(end)?(import|load|profile)(_yaml|_json|_text)?'")


def slips(path, key="netboot"):
    """
    Return the slips in a file of the pillar, each with its line and what to do.

    path
        The file. The YAML of one with Jinja is left to Salt.

    key : netboot
        Its top key, for which a similar one is a slip; None: any.
    """
    if yaml is None:
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []  # Salt says more
    except UnicodeDecodeError as err:
        return [f"{path}: byte {err.start + 1} is not UTF-8; save the file as UTF-8"]
    if text.startswith("#!"):
        return []
    if has_jinja(text):
        return _in_jinja(path, text)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as err:
        return [_told(path, text, err)]
    except yaml.YAMLError as err:
        return [f"{path}: {err}"]
    return [*_repeated(path, text, root), *(_misspelt(path, text, root, key) if key else [])]


def has_jinja(text):
    """Whether Salt renders anything in a file of the pillar."""
    return any(mark in text for mark in ("{%", "{{", "{#"))


def renders(path):
    """Whether it renders anything in this one."""
    try:
        return has_jinja(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return False


def _in_jinja(path, text):
    try:
        jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"]).parse(text)  # noqa: S701
    except jinja2.TemplateSyntaxError as err:
        if _SALTS_TAG.search(err.message):
            return []
        problem = next((ours for said, ours in _JINJA_ADVICE.items() if said in err.message), None)
        number, problem = (err.lineno, problem) if problem else _tagged(text, err)
        return [_at(path, number - 1, None, text.splitlines(), problem)]
    return []


def _tagged(text, err):
    """The line, and what is wrong with the tag there."""
    if err.message.startswith("Unexpected end of template"):
        tag = re.search(r"closed is '(\w+)'", err.message)[1]
        still = []
        for found in re.finditer(rf"{{%[-+]?\s*(end)?{tag}\b", text):
            still = still[:-1] if found[1] else [*still, found.start()]
        number = text.count("\n", 0, still[-1]) + 1 if still else err.lineno
        return number, f"has {{% {tag} %}} without {{% end{tag} %}}"
    unknown = re.search(r"unknown tag '(\w+)'", err.message)
    if not unknown:
        return err.lineno, f"is not what Jinja reads: {err.message}"
    tag = f"{{% {unknown[1]} %}}"
    if still := re.search(r"to be closed is '(\w+)'", err.message):
        return err.lineno, f"has {tag}, but {{% {still[1]} %}} is still open"
    if unknown[1].startswith(("end", "el")):
        return err.lineno, f"has {tag} without what it ends"
    near = difflib.get_close_matches(unknown[1], _TAGS, 1)
    hint = f", did you mean {near[0]}?" if near else ""
    return err.lineno, f"has the unknown tag {tag}{hint}"


def rendered(said, folder):
    """
    Return the slips that Salt found when it rendered the pillar, as sentences.

    said
        What it logged.

    folder
        The folder of the pillar.
    """
    found = {}
    pattern = r"Rendering SLS '([^']+)' failed, render error:\n(.*?)(?=\n?\[[A-Z ]+\]|\Z)"
    for name, told in re.findall(pattern, said, re.DOTALL):
        places = [folder.joinpath(*name.split(".")).with_suffix(".sls")]
        places += [folder.joinpath(*name.split("."), "init.sls")]
        path = next(filter(Path.exists, places), places[0])
        why = re.sub(r"; line \d+$", "", told.partition("\n")[0]).rstrip(".:")
        if "is undefined" in why:
            why += "; set it above, or give it a default ({{ NAME | default('...') }})"
        line = re.search(r"; line (\d+)$", told, re.MULTILINE)
        made = re.search(r'in "<unicode string>", line (\d+)', told)
        if line and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            found[_at(path, int(line[1]) - 1, None, lines, why)] = None
        elif made:
            found[f"{path}, line {made[1]} of what its Jinja makes: {why}"] = None
        else:
            found[f"{path}: {why}"] = None
    return list(found)


def _told(path, text, err):
    mark = err.problem_mark or err.context_mark
    problem = next((told for said, told in _ADVICE.items() if said in err.problem), err.problem)
    lines = text.splitlines()
    number = min(mark.line, len(lines) - 1)
    if err.problem.startswith(("expected <block end>", "mapping values", "did not find")):
        problem = _indented(lines, number) or problem
    if "\t" in lines[number][: mark.column + 1]:
        problem = _ADVICE["found character '\\t' that cannot start any token"]
    elif "closes" in problem and err.context_mark:
        number = err.context_mark.line
    return _at(path, number, mark.column, lines, problem)


def _indented(lines, number):
    """What is wrong with how far a line is indented, or None."""
    here = _spaces(lines[number])
    above = [line for line in lines[:number] if line.strip() and not line.lstrip().startswith("#")]
    if not above:
        return None
    before = _spaces(above[-1])
    if here > before and not above[-1].rstrip().endswith(":"):
        return f"is indented further ({here} spaces) than the line above ({before})"
    if here < before and here not in map(_spaces, above):
        near = ", ".join(map(str, sorted({one for one in map(_spaces, above) if one <= before})))
        return f"is indented by {here} spaces; the lines above have {near}"
    return None


def _spaces(line):
    return len(line) - len(line.lstrip(" "))


def _at(path, number, column, lines, problem):
    shown = lines[number].replace("\t", "<TAB>").strip() if number < len(lines) else ""
    at = "" if column is None else f", column {column + 1}"
    return f"{path}, line {number + 1}{at}: {problem}:\n    {shown}"


def _repeated(path, text, node):
    """Keys that stand twice in a map: Salt refuses them, and YAML would drop the first."""
    found = []
    if isinstance(node, yaml.SequenceNode):
        for one in node.value:
            found += _repeated(path, text, one)
    if isinstance(node, yaml.MappingNode):
        before = {}
        for key, value in node.value:
            line = key.start_mark.line
            if key.value in before and isinstance(key, yaml.ScalarNode):
                told = f"{key.value} is already in line {before[key.value] + 1}; merge the two"
                found.append(_at(path, line, key.start_mark.column, text.splitlines(), told))
            if isinstance(key, yaml.ScalarNode):
                before[key.value] = line
            found += _repeated(path, text, value)
    return found


def _misspelt(path, text, root, wanted):
    """A top key that is nearly the wanted one: these states would not see it."""
    if not isinstance(root, yaml.MappingNode):
        return []
    keys = {key.value: key.start_mark for key, _ in root.value if isinstance(key, yaml.ScalarNode)}
    if wanted in keys:
        return []
    near = difflib.get_close_matches(wanted, [key for key in keys if key], 1, 0.75)
    return [
        _at(path, keys[key].line, 0, text.splitlines(), f"{key} is unknown, did you mean {wanted}?")
        for key in near
    ]


def twice(folder):
    """
    Return the hosts that two files have which the top file gives to the same machines: Salt would
    merge them without a word.

    folder
        The pillar's.
    """
    if yaml is None:
        return []
    tops = _loaded(folder / "top.sls")
    targets = [given for env in tops.values() if isinstance(env, dict) for given in env.values()]
    found = []
    for given in targets:
        known = {}
        for name in given if isinstance(given, list) else ():
            netboot = (
                _loaded(folder / f"{name}.sls").get("netboot") if isinstance(name, str) else {}
            )
            hosts = netboot.get("hosts") if isinstance(netboot, dict) else {}
            for host in hosts if isinstance(hosts, dict) else ():
                other = known.setdefault(host, name)
                if other != name:
                    both = f"{folder}/{name}.sls: {host} is in {folder}/{other}.sls too"
                    found.append(f"{both}; remove one of the two, as Salt would merge them")
    return found


def _loaded(path):
    """What a file has, if it is a map and has no slips."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return data if isinstance(data, dict) else {}
