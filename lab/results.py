"""What a rehearsal found: as a table, JSON and JUnit XML. Pure."""

import re
from dataclasses import asdict, dataclass
from xml.etree import ElementTree

#: Of a result: it booted, it did not, it was not tried.
BOOTED, FAILED, NOT_TRIED = "booted", "FAILED", "not tried"
# What XML cannot have (XML 1.0, 2.2), such as a terminal's escapes.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class Result:
    """One boot, or one failed state of the apply.

    who: the persona, or "apply"; what: what was to boot; host: its name in the pillar; firmware;
    entry: its id; iso: what it booted; cause: its name in docs/troubleshooting.md; text: what
    happened; advice: what to do; picture, log: names of files.
    """

    who: str
    what: str
    result: str = NOT_TRIED
    seconds: float = 0.0
    host: str = ""
    firmware: str = ""
    entry: str = ""
    iso: str = ""
    bytes: int = 0
    cause: str = ""
    text: str = ""
    advice: str = ""
    picture: str = ""
    menu: str = ""
    log: str = ""


def line(result, number, total, widths=(0, 0)):
    """One result as a line of progress."""
    digits = len(str(total))
    head = f"{number:{digits}}/{total}  {result.who:{widths[0]}}  {result.what:{widths[1]}}"
    if result.result == BOOTED:
        return f"{head}  {BOOTED}  {result.seconds:.0f} s"
    why = ": ".join(filter(None, (result.cause, result.text)))
    return f"{head}  {result.result}  {why}".rstrip()


def widths(results):
    """The widths of the columns of line()."""
    return tuple(
        max((len(getattr(one, name)) for one in results), default=0) for name in ("who", "what")
    )


def table(results):
    """All results, with advice and pictures of those that failed, and a summary."""
    wide = widths(results)
    lines = [line(one, at, len(results), wide) for at, one in enumerate(results, 1)]
    return "\n".join([*lines, *_ended(results)])


def matrix(results):
    """The same for who has seen each line: what was to boot down, who across."""
    names = list(dict.fromkeys(one.who for one in results))
    found = {(one.what, one.who): one for one in results}
    rows = [["", *names]]
    for what in dict.fromkeys(one.what for one in results):
        rows.append([what, *(_cell(found.get((what, who))) for who in names)])
    wide = [max(map(len, column)) for column in zip(*rows)]
    lines = [
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, wide)).rstrip() for row in rows
    ]
    return "\n".join([*lines, *_ended(results)])


def _cell(result):
    if result is None:
        return "-"
    return f"{result.seconds:.0f} s" if result.result == BOOTED else result.result


def _ended(results):
    lines = []
    bad = [one for one in results if one.result == FAILED]
    for one in bad:
        lines += ["", f"{one.who}  {one.what}"]
        lines += [f"    {text}" for text in (one.text, one.advice) if text]
        lines += [f"    {name}" for name in (one.picture, one.log) if name]
    return [*lines, "", summary(results)]


def summary(results):
    """How many booted, as a sentence."""
    counts = {
        kind: sum(one.result == kind for one in results) for kind in (BOOTED, FAILED, NOT_TRIED)
    }
    said = [f"{counts[BOOTED]} of {len(results)} booted"]
    said += [f"{counts[FAILED]} failed"] if counts[FAILED] else []
    said += [f"{counts[NOT_TRIED]} not tried"] if counts[NOT_TRIED] else []
    return ", ".join(said) + "."


def passed(results):
    """Whether all that was to boot has booted, and anything was."""
    return bool(results) and all(one.result == BOOTED for one in results)


def as_json(results, changes, images):
    """A map for json.dump.

    changes: what differs from the user's pillar; images: what each image's ISO was.
    """
    return {
        "version": 1,
        "passed": passed(results),
        "changes": list(changes),
        "images": dict(images),
        "results": [asdict(one) for one in results],
    }


def junit(results):
    """JUnit XML, as GitLab, GitHub's reporters and Jenkins read it."""
    suite = ElementTree.Element(
        "testsuite",
        name="netboot rehearse",
        tests=str(len(results)),
        failures=str(sum(one.result == FAILED for one in results)),
        errors="0",
        skipped=str(sum(one.result == NOT_TRIED for one in results)),
        time=f"{sum(one.seconds for one in results):.1f}",
    )
    for one in results:
        case = ElementTree.SubElement(
            suite, "testcase", classname=one.who, name=one.what, time=f"{one.seconds:.1f}"
        )
        if one.result == FAILED:
            said = {"type": one.cause or "failed", "message": _clean(one.text)}
            failure = ElementTree.SubElement(case, "failure", said)
            failure.text = _clean("\n".join(filter(None, (one.text, one.advice, one.log))))
        elif one.result == NOT_TRIED:
            ElementTree.SubElement(case, "skipped", message=_clean(one.text or "interrupted"))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text):
    return _NOT_XML.sub("?", text)
