"""The keys of random queries by their structure are those that compiling gives."""

import pytest
from oracle import environments


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_keys_by_structure_are_those_by_compiling(judge, kind):
    database = environments.Database(kind)
    found = judge("series", "--reads", 1000, database=database, script="key_worker.py")
    assert found["different"] == []
    assert found["counts"]["by shape"] > 600
    assert found["counts"]["compiled"] > 600
