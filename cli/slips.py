"""Slips in the YAML of pillar files, before Salt reports them by a traceback."""

import difflib

try:
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


def slips(path, key="netboot"):
    """
    Return the slips in a file of the pillar, each with its line and what to do.

    path
        The file. One with Jinja is left to Salt.

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
    if text.startswith("#!") or any(mark in text for mark in ("{%", "{{", "{#")):
        return []
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as err:
        return [_told(path, text, err)]
    except yaml.YAMLError as err:
        return [f"{path}: {err}"]
    return [*_repeated(path, text, root), *(_misspelt(path, text, root, key) if key else [])]


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
    return f"{path}, line {number + 1}, column {column + 1}: {problem}:\n    {shown}"


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
