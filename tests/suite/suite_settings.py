"""Upstream's own settings for its tests, on the server that a run has to itself."""

import os

from tests.settings import *  # noqa: F403 (whatever upstream sets)

CACHEOPS_REDIS = os.environ["SUITE_SERVER_URL"]

# Some of these tests save an object as it is to have its results dropped; Rover's fork keeps them, unless it is told otherwise.
CACHEOPS_ROVER_OFF = ("unchanged-rows",)
