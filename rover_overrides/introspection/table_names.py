"""Which tables a piece of SQL reads that Django did not generate; each must be a model's table.

This is not a parser: it knows where a relation may be named, and treats any name there as one. So
it returns too many tables rather than too few. SQL that it cannot analyse raises SqlAnalysisError:
a view, a table of no model, an unknown function.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rover_overrides.introspection import schema
from rover_overrides.introspection.sql_keywords import (
    RELATIVE_TIMES,
    SYNTAX,
    VOLATILE,
    WRITES,
    is_fixed,
)

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
_RELATION_KEYWORDS = frozenset({"from", "join", "table", "straight_join"})
_CLAUSE_KEYWORDS = frozenset(
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
_FROM_FUNCTIONS = frozenset({"extract", "overlay", "position", "substring", "trim"})
"""Functions in whose arguments FROM and IN are not clauses."""
_QUERY_KEYWORDS = frozenset({"select", "with", "values", "table"})
_DEFAULT_SCHEMAS = frozenset({"public", "main"})
"""Schemas that may precede the name of a table and mean the same table."""


class SqlAnalysisError(Exception):
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


def tables_in_sql(
    sql: str, params: Iterable[Any] = (), *, allow_unknown_functions: bool = False
) -> set[str]:
    """Return the tables of models that a piece of SQL names where it may read them.

    Raise SqlAnalysisError if the SQL cannot be analysed or has no fixed result.
    """
    if any(
        isinstance(param, str) and param.strip().casefold() in RELATIVE_TIMES for param in params
    ):
        raise SqlAnalysisError("a moment that passes")
    return _SqlScanner(list(_tokens(sql)), allow_unknown_functions=allow_unknown_functions).tables()


def find_model_table(name: str) -> str:
    """Return the table of a model by its name in Django.

    Raise SqlAnalysisError if there is none.
    """
    return _SqlScanner(
        list(_tokens(name if name.startswith('"') else f'"{name}"')), allow_unknown_functions=False
    ).single_table()


def _tokens(sql: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(sql):
        kind = str(found.lastgroup if found.lastgroup != "tag" else "text")
        if kind == "sign" and found.group() in {"'", '"', "`"}:
            raise SqlAnalysisError("a quote that does not end")
        if kind != "space":
            yield _Token(kind, found.group())


class _SqlScanner:
    """Reads tokens from left to right, and keeps the state of each open parenthesis."""

    def __init__(self, tokens: Sequence[_Token], *, allow_unknown_functions: bool) -> None:
        self._tokens = tokens
        self._allow_unknown_functions = allow_unknown_functions
        self._ctes = set(self._cte_names())
        self._tables: set[str] = set()
        self._lists_relations = [False]
        """For each open parenthesis, whether relations are listed in it."""
        self._not_clauses = [False]
        """For each open parenthesis, whether FROM and IN are not clauses in it."""

    def tables(self) -> set[str]:
        """Return the tables that are named."""
        at = 0
        while at < len(self._tokens):
            at = self._read_token(at)
        return self._tables

    def single_table(self) -> str:
        """Return the table whose name the tokens are; raise SqlAnalysisError if there is none."""
        if self._read_relation(0) < len(self._tokens) or len(self._tables) != 1:
            raise SqlAnalysisError("no table of a model")
        return self._tables.pop()

    def _token_at(self, at: int) -> _Token:
        return self._tokens[at] if 0 <= at < len(self._tokens) else _END

    def _read_token(self, at: int) -> int:
        """Read what begins at a token; return the index after it."""
        token = self._tokens[at]
        if token.text == "(":
            self._open_parenthesis(
                lists_relations=False, not_clauses=self._token_at(at - 1).word in _FROM_FUNCTIONS
            )
        elif token.text == ")":
            self._close_parenthesis()
        elif token.text == "," and self._lists_relations[-1]:
            return self._read_relation(at + 1)
        elif token.kind == "text" and token.text.strip("'").strip().casefold() in RELATIVE_TIMES:
            raise SqlAnalysisError("a moment that passes")
        elif token.name and self._token_at(at - 1).text == ".":
            if self._token_at(at + 1).text == "(":
                self._check_function(f"{self._token_at(at - 2).name}.{token.name}", at)
        elif token.name:
            return self._read_name(at)
        return at + 1

    def _read_name(self, at: int) -> int:
        """Read a keyword, a function or a name of no relation; return the index after it."""
        token, word = self._tokens[at], self._tokens[at].word
        if word in VOLATILE or word in WRITES:
            raise SqlAnalysisError(f"{word} is not a read with a fixed answer")
        if word in _RELATION_KEYWORDS and not self._is_not_clause(at):
            self._lists_relations[-1] = True
            return self._read_relation(at + 1)
        # SQLite allows the name of a table after IN.
        if word == "in" and self._token_at(at + 1).name and not self._not_clauses[-1]:
            return self._read_relation(at + 1)
        if word in _CLAUSE_KEYWORDS:
            self._lists_relations[-1] = False
        if self._is_call(at):
            self._check_function(token.name, at)
        return at + 1

    def _is_not_clause(self, at: int) -> bool:
        # IS [NOT] DISTINCT FROM is an operator.
        return self._tokens[at].word == "from" and (
            self._not_clauses[-1]
            or (
                self._token_at(at - 1).word == "distinct"
                and self._token_at(at - 2).word in {"is", "not"}
            )
        )

    def _is_call(self, at: int) -> bool:
        """Return whether a name is that of a function that is called.

        It is not if it is an alias, which may have columns, or a common table expression.
        """
        before, token = self._token_at(at - 1), self._tokens[at]
        if self._token_at(at + 1).text != "(" or token.word in SYNTAX:
            return False
        return not (before.text == ")" or before.word == "as" or token.name in self._ctes)

    def _check_function(self, function: str, at: int) -> None:
        prefix, _, name = function.casefold().rpartition(".")
        # A function of another schema may have the name of a built-in one.
        known = prefix in {"", "pg_catalog"} and is_fixed(name, self._count_arguments(at + 1))
        if not known and not self._allow_unknown_functions:
            raise SqlAnalysisError(f"nobody knows what {function} reads")

    def _count_arguments(self, at: int) -> int:
        """Return the number of arguments in a parenthesis."""
        depth, commas = 0, 0
        for token in self._tokens[at:]:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            commas += depth == 1 and token.text == ","
            if not depth:
                break
        return 0 if self._token_at(at + 1).text == ")" else commas + 1

    def _read_relation(self, at: int) -> int:
        """Read what is where a relation is expected; return the index after it."""
        while self._token_at(at).word in {"lateral", "only"}:
            at += 1
        if self._token_at(at).text == "(":
            # The placeholder stands for Django's own SQL, such as the query of a Subquery.
            query = (
                self._token_at(at + 1).word in _QUERY_KEYWORDS
                or self._token_at(at + 1).kind == "holder"
            )
            self._open_parenthesis(lists_relations=not query, not_clauses=False)
            return at + 1 if query else self._read_relation(at + 1)
        parts = [self._token_at(at).name]
        while self._token_at(at + 1).text == ".":
            at += 2
            parts.append(self._token_at(at).name)
        if not all(parts):
            raise SqlAnalysisError("no name where a relation is read from")
        if self._token_at(at + 1).text == "(" and parts[-1] not in self._ctes:
            self._check_function(".".join(parts), at)
        else:
            self._add_table(parts, is_quoted=self._token_at(at).kind == "quoted")
        return at + 1

    def _add_table(self, parts: list[str], *, is_quoted: bool) -> None:
        name = ".".join(
            parts[1:] if len(parts) > 1 and parts[0].casefold() in _DEFAULT_SCHEMAS else parts
        )
        table = schema.find_table(name, is_quoted=is_quoted)
        if table is not None:
            self._tables.add(table)
        elif name not in self._ctes:
            raise SqlAnalysisError(f"{name} is no table of a model")

    def _cte_names(self) -> Iterator[str]:
        """Yield the names of common table expressions: `name AS (SELECT`, perhaps with columns."""
        if not any(token.word == "with" for token in self._tokens):
            return
        for at, token in enumerate(self._tokens):
            if token.word != "as":
                continue
            after = at + 1
            while self._token_at(after).word in {"not", "materialized"}:
                after += 1
            start = after
            while self._token_at(after).text == "(":  # a union may have several
                after += 1
            if after > start and self._token_at(after).word in _QUERY_KEYWORDS:
                yield self._token_at(self._before_columns(at - 1)).name

    def _before_columns(self, at: int) -> int:
        """Return the index of the name before a list of columns that ends at a token."""
        if self._token_at(at).text != ")":
            return at
        while at >= 0 and self._token_at(at).text != "(":
            at -= 1
        return at - 1

    def _open_parenthesis(self, *, lists_relations: bool, not_clauses: bool) -> None:
        self._lists_relations.append(lists_relations)
        self._not_clauses.append(not_clauses)

    def _close_parenthesis(self) -> None:
        if len(self._lists_relations) == 1:
            raise SqlAnalysisError("a parenthesis that was not opened")
        self._lists_relations.pop()
        self._not_clauses.pop()
