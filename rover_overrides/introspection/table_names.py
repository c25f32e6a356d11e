"""Which tables a piece of SQL reads that Django did not generate; each must be a model's table.

This is not a parser: it knows where a relation may be named, and treats any name there as one. So
it returns too many tables rather than too few. SQL that it cannot analyse raises UnreadableError:
a view, a table of no model, an unknown function.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rover_overrides.introspection import schema
from rover_overrides.introspection.sql_words import MOMENTS, SYNTAX, VOLATILE, WRITES, is_fixed

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*|/\*.*?\*/)
    |(?P<text>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    |(?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    |(?P<holder>%s|%\(\w+\)s|\?)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<number>\d[\w.]*)
    |(?P<sign>.)
    """,
    re.DOTALL | re.VERBOSE,
)
_BEFORE_A_RELATION = frozenset({"from", "join", "table", "straight_join"})
_AFTER_RELATIONS = frozenset(
    {
        "where",
        "group",
        "order",
        "having",
        "limit",
        "union",
        "intersect",
        "except",
        "window",
        "select",
        "for",
        "offset",
        "fetch",
    }
)
_TAKES_FROM = frozenset({"extract", "overlay", "position", "substring", "trim"})
"""Functions in whose arguments FROM and IN are not clauses."""
_QUERY = frozenset({"select", "with", "values", "table"})
_OWN_SCHEMA = frozenset({"public", "main"})
"""Schemas that may precede the name of a table and mean the same table."""


class UnreadableError(Exception):
    """It cannot be determined what the SQL reads, or it has no fixed result."""


class _Token(NamedTuple):
    kind: str
    text: str

    @property
    def word(self) -> str:
        """The word in lower case; empty for other tokens."""
        return self.text.casefold() if self.kind == "word" else ""

    @property
    def name(self) -> str:
        """The name without quotes; empty for tokens that are not identifiers."""
        if self.kind == "quoted":
            mark = self.text[0]
            return self.text[1:-1].replace(mark * 2, mark)
        return self.text if self.kind == "word" else ""


_END = _Token("sign", "")


def tables_named(sql: str, params: Iterable[Any] = (), *, any_function: bool = False) -> set[str]:
    """Return the tables of models that a piece of SQL names where it may read them.

    Raise UnreadableError if the SQL cannot be analysed or has no fixed result.
    """
    if any(isinstance(param, str) and param.strip().casefold() in MOMENTS for param in params):
        raise UnreadableError("a moment that passes")
    return _Reader(list(_tokens(sql)), any_function=any_function).tables()


def known_table(name: str) -> str:
    """Return the table of a model by its name in Django; raise UnreadableError if there is none."""
    return _Reader(
        list(_tokens(name if name.startswith('"') else f'"{name}"')), any_function=False
    ).one()


def _tokens(sql: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(sql):
        kind = str(found.lastgroup if found.lastgroup != "tag" else "text")
        if kind == "sign" and found.group() in {"'", '"', "`"}:
            raise UnreadableError("a quote that does not end")
        if kind != "space":
            yield _Token(kind, found.group())


class _Reader:
    """Reads tokens from left to right, and keeps the state of each open parenthesis."""

    def __init__(self, tokens: Sequence[_Token], *, any_function: bool) -> None:
        self._tokens = tokens
        self._any_function = any_function
        self._defined = set(self._definitions())
        self._found: set[str] = set()
        self._lists = [False]
        """For each open parenthesis, whether relations are listed in it."""
        self._shut = [False]
        """For each open parenthesis, whether FROM and IN are not clauses in it."""

    def tables(self) -> set[str]:
        """Return the tables that are named."""
        at = 0
        while at < len(self._tokens):
            at = self._step(at)
        return self._found

    def one(self) -> str:
        """Return the table whose name the tokens are; raise UnreadableError if there is none."""
        if self._relation(0) < len(self._tokens) or len(self._found) != 1:
            raise UnreadableError("no table of a model")
        return self._found.pop()

    def _at(self, at: int) -> _Token:
        return self._tokens[at] if 0 <= at < len(self._tokens) else _END

    def _step(self, at: int) -> int:
        """Read what begins at a token; return the index after it."""
        token = self._tokens[at]
        if token.text == "(":
            self._open(listing=False, shut=self._at(at - 1).word in _TAKES_FROM)
        elif token.text == ")":
            self._close()
        elif token.text == "," and self._lists[-1]:
            return self._relation(at + 1)
        elif token.kind == "text" and token.text.strip("'").strip().casefold() in MOMENTS:
            raise UnreadableError("a moment that passes")
        elif token.name and self._at(at - 1).text == ".":
            if self._at(at + 1).text == "(":
                self._call(f"{self._at(at - 2).name}.{token.name}", at)
        elif token.name:
            return self._name(at)
        return at + 1

    def _name(self, at: int) -> int:
        """Read a keyword, a function or a name of no relation; return the index after it."""
        token, word = self._tokens[at], self._tokens[at].word
        if word in VOLATILE or word in WRITES:
            raise UnreadableError(f"{word} is not a read with a fixed answer")
        if word in _BEFORE_A_RELATION and not self._is_no_clause(at):
            self._lists[-1] = True
            return self._relation(at + 1)
        # SQLite allows the name of a table after IN.
        if word == "in" and self._at(at + 1).name and not self._shut[-1]:
            return self._relation(at + 1)
        if word in _AFTER_RELATIONS:
            self._lists[-1] = False
        if self._follows_call(at):
            self._call(token.name, at)
        return at + 1

    def _is_no_clause(self, at: int) -> bool:
        return self._tokens[at].word == "from" and (
            self._shut[-1]
            or (self._at(at - 1).word == "distinct" and self._at(at - 2).word in {"is", "not"})
        )

    def _follows_call(self, at: int) -> bool:
        """Return whether a name is that of a function that is called.

        It is not if it is an alias, which may have columns, or a common table expression.
        """
        before, token = self._at(at - 1), self._tokens[at]
        if self._at(at + 1).text != "(" or token.word in SYNTAX:
            return False
        return not (before.text == ")" or before.word == "as" or token.name in self._defined)

    def _call(self, function: str, at: int) -> None:
        prefix, _, name = function.casefold().rpartition(".")
        known = prefix in {"", "pg_catalog"} and is_fixed(name, self._arguments(at + 1))
        if not known and not self._any_function:
            raise UnreadableError(f"nobody knows what {function} reads")

    def _arguments(self, at: int) -> int:
        """Return the number of arguments in a parenthesis."""
        depth, commas = 0, 0
        for token in self._tokens[at:]:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            commas += depth == 1 and token.text == ","
            if not depth:
                break
        return 0 if self._at(at + 1).text == ")" else commas + 1

    def _relation(self, at: int) -> int:
        """Read what is where a relation is expected; return the index after it."""
        while self._at(at).word in {"lateral", "only"}:
            at += 1
        if self._at(at).text == "(":
            query = self._at(at + 1).word in _QUERY or self._at(at + 1).kind == "holder"
            self._open(listing=not query, shut=False)
            return at + 1 if query else self._relation(at + 1)
        parts = [self._at(at).name]
        while self._at(at + 1).text == ".":
            at += 2
            parts.append(self._at(at).name)
        if not all(parts):
            raise UnreadableError("no name where a relation is read from")
        if self._at(at + 1).text == "(" and parts[-1] not in self._defined:
            self._call(".".join(parts), at)
        else:
            self._add(parts, is_quoted=self._at(at).kind == "quoted")
        return at + 1

    def _add(self, parts: list[str], *, is_quoted: bool) -> None:
        name = ".".join(
            parts[1:] if len(parts) > 1 and parts[0].casefold() in _OWN_SCHEMA else parts
        )
        table = schema.table_named(name, exactly=is_quoted)
        if table is not None:
            self._found.add(table)
        elif name not in self._defined:
            raise UnreadableError(f"{name} is no table of a model")

    def _definitions(self) -> Iterator[str]:
        """Yield the names of common table expressions: `name AS (SELECT`, perhaps with columns."""
        if not any(token.word == "with" for token in self._tokens):
            return
        for at, token in enumerate(self._tokens):
            if token.word != "as":
                continue
            after = at + 1
            while self._at(after).word in {"not", "materialized"}:
                after += 1
            start = after
            while self._at(after).text == "(":  # a union may have several
                after += 1
            if after > start and self._at(after).word in _QUERY:
                yield self._at(self._before_columns(at - 1)).name

    def _before_columns(self, at: int) -> int:
        """Return the index of the name before a list of columns that ends at a token."""
        if self._at(at).text != ")":
            return at
        while at >= 0 and self._at(at).text != "(":
            at -= 1
        return at - 1

    def _open(self, *, listing: bool, shut: bool) -> None:
        self._lists.append(listing)
        self._shut.append(shut)

    def _close(self) -> None:
        if len(self._lists) == 1:
            raise UnreadableError("a parenthesis that was not opened")
        self._lists.pop()
        self._shut.pop()
