"""Tests that share something expensive run in one process, which xdist sees to by a mark."""

import pytest


@pytest.mark.xdist_group("groups")
def test_mark_counts(request):
    """Pytest 9.2 ignores how xdist 3.8 says it, and nothing tells but the time."""
    is_grouping = getattr(
        request.config.option, "loadgroup", False
    )  # under --dist loadgroup alone, as nox -s tests has it
    assert request.node.nodeid.endswith("@groups") == is_grouping
