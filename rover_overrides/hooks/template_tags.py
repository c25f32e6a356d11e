"""`parse_bits` of Django's template library, with the signature that cacheops calls.

Since Django 6.1 it does not accept `takes_context`: the caller removes the context from the
parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

from django.template import TemplateSyntaxError, library

_TAKES_CONTEXT = "takes_context" in signature(library.parse_bits).parameters


def parse_bits(
    parser: Any,
    bits: Sequence[str],
    params: Sequence[str],
    varargs: str | None,
    varkw: str | None,
    defaults: Any,
    kwonly: Sequence[str],
    kwonly_defaults: Any,
    takes_context: bool,
    name: str,
) -> Any:
    """Return the arguments and keyword arguments of a tag."""
    parse: Any = library.parse_bits
    if _TAKES_CONTEXT:
        return parse(
            parser,
            bits,
            params,
            varargs,
            varkw,
            defaults,
            kwonly,
            kwonly_defaults,
            takes_context,
            name,
        )
    if takes_context:
        params = _without_context(params, name)
    return parse(parser, bits, params, varargs, varkw, defaults, kwonly, kwonly_defaults, name)


def _without_context(params: Sequence[str], name: str) -> Sequence[str]:
    if not params or params[0] != "context":
        raise TemplateSyntaxError(
            f"{name!r} takes the context, so its first argument must be 'context'"
        )
    return params[1:]
