"""The profile is written from data: its literal anew, the text around it byte for byte."""

import pytest

from scripts.series.profile_editor import edit_profile

TEXT = '''"""Grüße."""

from typing import Any

SETTINGS: dict[str, Any] = {"a": {"A": ("x",)}, 'b': {}}  # kept

globals().update(SETTINGS)
'''
AROUND = '"""Grüße."""\n\nfrom typing import Any\n\nSETTINGS: dict[str, Any] = {}  # kept\n\nglobals().update(SETTINGS)\n'


def literal(entries):
    return AROUND.replace("{}  #", f"{entries}  #")


@pytest.mark.parametrize(
    ("put", "drop", "entries"),
    [
        (
            {"c": {"C": None}},
            (),
            '{\n    "a": {"A": ("x",)},\n    "b": {},\n    "c": {"C": None},\n}',
        ),
        ({"a": {"A": "it's"}}, ("b",), '{\n    "a": {"A": "it\'s"},\n}'),
        ({}, ("a", "b"), "{}"),
    ],
)
def test_literal_is_written_anew_and_the_rest_stays(put, drop, entries):
    assert edit_profile(TEXT, put, drop) == literal(entries)


def test_long_entry_is_broken_as_a_formatter_keeps_it():
    edited = edit_profile(AROUND, {"long": {"NAMES": ["n" * 40, "m" * 40]}})
    assert f'    "long": {{\n        "NAMES": ["{"n" * 40}", "{"m" * 40}"],\n    }},\n' in edited


def test_nothing_to_change_leaves_the_text():
    assert edit_profile(TEXT, {"a": {"A": ("x",)}}, ("c",)) == TEXT
