"""How a failure of a probe is shown: as pytest does in short, without what differs between runs."""

from pathlib import Path

import pytest

from scripts.probes.failure_text import Places, failure_texts
from scripts.probes.fork_server_pool import ProcessExit

PLACES = Places(Path("/fork"), Path("/fork/.fork/tmp-1/tree"), Path("/tmp/run"))
ENDED = ProcessExit(1, timed_out=False, output="")
FINISH = {"$report_type": "SessionFinish"}
TRACE = [
    "Traceback (most recent call last):\n",
    '  File "/fork/.fork/environments/plain/lib/python3.11/site-packages/_pytest/runner.py", line 9, in run\n    run()\n',
    '  File "/fork/tests/probes/test_a.py", line 5, in test_a\n    assert twice(2) == 4\n           ^^^^^\n',
    '  File "/fork/.fork/tmp-1/tree/pkg/a.py", line 7, in twice\n    raise ValueError(x)\n',
    "ValueError: wrong\n",
]


def failed(trace, message):
    return {
        "nodeid": "tests/probes/test_a.py::test_a",
        "outcome": "failed",
        "longrepr": {
            "reprcrash": {"message": message},
            "reprtraceback": {"reprentries": [{"data": {"lines": trace}}]},
        },
    }


def shown(*entries, ended=ENDED, places=PLACES):
    return failure_texts([*entries, FINISH], ended, places)


def test_frames_of_probes_and_the_tree_are_shown_and_others_are_not():
    assert shown(failed(TRACE, "ValueError: wrong\nmore")) == {
        "tests/probes/test_a.py::test_a": (
            "tests/probes/test_a.py:5: in test_a\n"
            "    assert twice(2) == 4\n"
            "pkg/a.py:7: in twice\n"
            "    raise ValueError(x)\n"
            "E   ValueError: wrong\n"
            "E   more"
        )
    }


def test_failure_of_the_installed_wheel_shows_only_the_probe():
    installed = '  File "/fork/.fork/environments/plain/lib/pkg/a.py", line 7, in f\n    f()\n'
    wheel = Places(Path("/fork"), None, Path("/tmp/run"))
    (text,) = shown(failed([*TRACE[:3], installed], "ValueError"), places=wheel).values()
    assert text == "tests/probes/test_a.py:5: in test_a\n    assert twice(2) == 4\nE   ValueError"


def test_deep_traceback_keeps_the_line_of_the_test_and_the_innermost_places():
    deep = [
        f'  File "/fork/.fork/tmp-1/tree/pkg/a.py", line {line}, in f\n    f()\n'
        for line in range(10, 20)
    ]
    (text,) = shown(failed([*TRACE[:3], *deep], "ValueError")).values()
    assert [line for line in text.splitlines() if not line.startswith(" ")] == [
        "tests/probes/test_a.py:5: in test_a",
        "…",
        "pkg/a.py:17: in f",
        "pkg/a.py:18: in f",
        "pkg/a.py:19: in f",
        "E   ValueError",
    ]


def test_file_that_cannot_be_imported_is_shown_the_same_way():
    text = (
        "ImportError while importing test module '/fork/tests/probes/test_a.py'.\nTraceback:\n"
        "/usr/lib/python3.11/importlib/__init__.py:126: in import_module\n    return x\n"
        "../../fork/tests/probes/test_a.py:1: in <module>\n    import pkg\n"
        "E   ImportError: no name (/fork/.fork/tmp-1/tree/pkg/a.py)"
    )
    entry = {"nodeid": "tests/probes/test_a.py", "outcome": "failed", "longrepr": text}
    assert shown(entry) == {
        "tests/probes/test_a.py": (
            "tests/probes/test_a.py:1: in <module>\n    import pkg\n"
            "E   ImportError: no name (pkg/a.py)"
        )
    }


def test_first_failure_of_a_test_counts():
    found = shown(failed([], "first"), failed([], "in its teardown"))
    assert list(found.values()) == ["E   first"]


def test_passed_tests_have_no_text():
    assert shown({"nodeid": "a", "outcome": "passed", "longrepr": None}) == {}


def test_process_that_died_is_shown_by_what_it_printed_last():
    output = "\n".join([*map(str, range(20)), "E  /fork/.fork/tmp-1/tree/pkg/a.py broke\n"])
    found = failure_texts([], ProcessExit(4, timed_out=False, output=output), PLACES)
    assert list(found) == [""]
    assert found[""].splitlines()[-1] == "E  pkg/a.py broke"
    assert len(found[""].splitlines()) == 15


@pytest.mark.parametrize(("lines", "last"), [(15, "E   14"), (16, "E   …")])
def test_long_message_is_cut(lines, last):
    (text,) = shown(failed([], "\n".join(map(str, range(lines))))).values()
    assert text.splitlines()[-1] == last
    (text,) = shown(failed([], "x" * 1000)).values()
    assert len(text) == len("E   ") + 500
