"""
The texts of the menu in its languages, and texts in letters that any firmware can draw. Pure.

A BIOS draws code page 437, and UEFI what its font has: that of OVMF has no Cyrillic letter and
draws nothing in its place (seen with iPXE of 2025-05; iPXE before 2022-03 sends UEFI single bytes).
"""

from __future__ import annotations

import re

#: By language, as a locale begins, then by what each text is for. The menu has them as
#: ``${nb-text-NAME}``.
LABELS: dict[str, dict[str, str]] = {
    "en": {
        "local": "Boot from the local disk",
        "none": "No image is ready yet",
        "of": "of",
        "at": "at",
        "again": "Check again",
        "boot": "Boot",
        "language": "Language",
        "shell": "iPXE shell",
        "reboot": "Reboot",
        "firmware": "Return to the firmware",
        "back": "Back",
        "stranger": "No host in the pillar is this machine",
        "livecd": "livecd",
        "install": "install",
        "rescue": "rescue",
        "iso": "whole ISO",
        "over": "over",
        "memory": "GiB of memory",
        "only": "only",
        "here": "MiB here",
        "small": "Too little memory for",
        "wipes": "This machine is to be installed: its disk is wiped",
        "missing": "Not ready yet, though this machine is to boot it",
        "failed": "This could not be loaded from",
        "unstarted": "this was loaded, but did not start",
        "altered": "this is not the file that the server has on record",
        "insecure": "does not start with Secure Boot",
        "no-shim": "the image has no signed shim",
        "kernel-unsigned": "its kernel is not signed",
        "kernel-of-others": "the shim has no key for its kernel",
        "turn": "Waiting for a turn (Ctrl-C: menu). Clients that may load at once",
        "press": "Press a key for the menu, or wait to boot from the local disk",
        "refused": "Wrong user name or password",
    },
    "ru": {
        "local": "Загрузка с локального диска",
        "none": "Готовых образов пока нет",
        "of": "из",
        "at": "в",
        "again": "Проверить снова",
        "boot": "Загрузить",
        "language": "Язык",
        "shell": "Командная строка iPXE",
        "reboot": "Перезагрузка",
        "firmware": "Вернуться в прошивку",
        "back": "Назад",
        "stranger": "Этой машины нет в pillar",
        "livecd": "Live-система",
        "install": "установка",
        "rescue": "восстановление",
        "iso": "ISO целиком",
        "over": "по",
        "memory": "ГиБ памяти",
        "only": "только",
        "here": "МиБ здесь",
        "small": "Мало памяти для",
        "wipes": "Эта машина будет установлена: её диск стирается",
        "missing": "Ещё не готово то, что назначено этой машине",
        "failed": "Не загружается с",
        "unstarted": "загружено, но не запустилось",
        "altered": "это не тот файл, который записан у сервера",
        "insecure": "не запускается с Secure Boot",
        "no-shim": "в образе нет подписанного shim",
        "kernel-unsigned": "его ядро не подписано",
        "kernel-of-others": "в shim нет ключа для его ядра",
        "turn": "Ожидание очереди (Ctrl-C - меню). Загружаются одновременно",
        "press": "Любая клавиша - меню, иначе загрузка с локального диска",
        "refused": "Неверное имя или пароль",
    },
}

#: Texts of why Secure Boot refuses an image: what ``iso_facts`` finds of its shim and kernel.
LACKS = ("no-shim", "kernel-unsigned", "kernel-of-others")

# ICAO Doc 9303, part 3, section 6.B, as in Russian passports, which needs no apostrophes; with its
# rows for Ukrainian and Belarusian. And signs of Russian typography.
_LATIN = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюяґєіїў№«»“”„–—",
        "a b v g d e e zh z i i k l m n o p r s t u f kh ts ch sh shch ie y  e iu ia g ie i i u"
        ' No " " " " " - -'.split(" "),
    )
)
#: What texts of the menu may have besides ASCII; the inside of a class of a regular expression.
LETTERS = "".join(_LATIN) + "".join(_LATIN).upper().translate({ord(one): None for one in _LATIN})


def latin(text: str) -> str:
    """
    Return a text in Latin letters; what has no row of its own is kept.

    text
        The text.
    """

    def written(match: re.Match[str]) -> str:
        letter = match[0]
        plain = _LATIN.get(letter.lower(), letter)
        return plain.capitalize() if letter.isupper() else plain

    return re.sub(r"[^\x00-\x7f]", written, text)


def language(locale: str) -> str:
    """
    Return the language of the menu for a locale; English where it has none of its own.

    locale
        Such as ``ru_RU``.
    """
    code = locale.partition("_")[0]
    return code if code in LABELS else "en"


def filled(text: str) -> str:
    """
    Return a text of the menu with its English labels in place.

    text
        The text, with ``${nb-text-NAME}``.
    """
    return re.sub(r"\$\{nb-text-(\w+)\}", lambda match: LABELS["en"][match[1]], text)
