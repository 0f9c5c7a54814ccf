"""
A strict reader of S-expressions as ALT's installer gets them, independent of what writes them.

It refuses whatever the public answer files do not have: other escapes than of ``"`` and ``\\``,
line breaks in strings, characters in words that some reader of Scheme treats specially.
"""

WORD = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/")


class Malformed(Exception):
    """The text is not what the installer reads."""


class Word(str):
    """A bare word, unlike a string."""

    def __repr__(self):
        return f"Word({str(self)})"


class Reader:
    """Reads one text from its beginning to its end."""

    def __init__(self, text):
        self.text, self.place = text, 0

    def expressions(self):
        """All expressions of the text, each a list at the top."""
        found = []
        while self._skip():
            if self._next() != "(":
                raise self._wrong("something other than a list")
            found.append(self._value())
        return found

    def _skip(self):
        """Skip blanks and comments; say whether anything follows."""
        while self.place < len(self.text):
            if self.text[self.place] == ";":
                end = self.text.find("\n", self.place)
                self.place = len(self.text) if end < 0 else end
            elif self.text[self.place] not in " \n":
                return True
            else:
                self.place += 1
        return False

    def _next(self):
        return self.text[self.place] if self.place < len(self.text) else ""

    def _wrong(self, what):
        return Malformed(f"{what} at {self.place}: {self.text[self.place : self.place + 30]!r}")

    def _value(self):
        if not self._skip():
            raise self._wrong("the end inside a list")
        char = self._next()
        if char == "(":
            return self._list()
        if char == '"':
            return self._string()
        if char == "#":
            return self._truth()
        return self._word()

    def _list(self):
        """A list; one with a dot becomes a tuple, its last item what follows the dot."""
        self.place += 1
        items = []
        while True:
            if not self._skip():
                raise self._wrong("a list without an end")
            if self._next() == ")":
                self.place += 1
                return items
            if self._next() == ".":
                return self._tail(items)
            items.append(self._value())
            if self._next() not in ("(", ")", " ", "\n"):
                raise self._wrong("values without a space between them")

    def _tail(self, items):
        self.place += 1
        if not items or self._next() != " ":
            raise self._wrong("a dot")
        last = self._value()
        if not self._skip() or self._next() != ")":
            raise self._wrong("several values after a dot")
        self.place += 1
        # (a . (b c)) is (a b c)
        return [*items, *last] if isinstance(last, list) else (*items, last)

    def _string(self):
        self.place += 1
        text = ""
        while self._next() != '"':
            char = self._next()
            if char == "\\":
                self.place += 1
                char = self._next()
                if char not in ('"', "\\"):
                    raise self._wrong("an escape")
            elif char in ("", "\n") or not char.isprintable():
                raise self._wrong("a string")
            text += char
            self.place += 1
        self.place += 1
        return text

    def _truth(self):
        word = self.text[self.place : self.place + 2]
        if word not in ("#t", "#f"):
            raise self._wrong("a word with #")
        self.place += 2
        return word == "#t"

    def _word(self):
        start = self.place
        while self._next() in WORD and self._next():
            self.place += 1
        word = self.text[start : self.place]
        if not word:
            raise self._wrong("a character")
        return int(word) if word.isdigit() else Word(word)


def read(text):
    """All expressions of a text, or ``Malformed``."""
    return Reader(text).expressions()
