"""One process of the gate: some labels of Django's own tests, in one mode, with the cache or without; a log line a result."""

import inspect
import json
import os
import sys
import tempfile
from pathlib import Path

OPTIONS = {"verbosity": 0, "parallel": 1}
"""What `django_tests()` is given; everything else is off, and which options there are depends on the Django."""


def main():
    gate = json.loads(os.environ["GATE"])
    os.environ["DJANGO_SETTINGS_MODULE"] = "gate_settings"
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.gettempdir()
    os.chdir(gate["tests"])  # some tests open their files by a relative path
    sys.path.insert(0, gate["tests"])
    import runtests

    _install_apps(runtests, gate)
    if gate["databases"]["default"]["ENGINE"].endswith("postgresql"):
        from postgresql_gaps import patch_missing_features

        patch_missing_features(gate["databases"]["default"])
    wanted = inspect.signature(runtests.django_tests).parameters
    given = OPTIONS | {"test_labels": gate["labels"]}
    off = {
        name: False if name in {"interactive", "failfast", "keepdb", "reverse", "shuffle"} else None
        for name in wanted
    }
    runtests.django_tests(
        **(off | {name: value for name, value in given.items() if name in wanted})
    )


def _install_apps(runtests, gate):
    """Install the labels' applications with the others: cacheops connects to the models that it finds when it is made ready."""
    labels = dict.fromkeys(runtests.get_label_module(label) for label in gate["labels"])
    apps = [
        app for label in labels for app in (*runtests.CONTRIB_TESTS_TO_APPS.get(label, ()), label)
    ]
    if gate["cached"]:
        runtests.ALWAYS_INSTALLED_APPS.insert(0, "cacheops")
    runtests.ALWAYS_INSTALLED_APPS += [
        app for app in apps if app not in runtests.ALWAYS_INSTALLED_APPS
    ]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
