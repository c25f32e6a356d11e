"""The site's settings, as they are read at each hit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings

site_settings: Callable[[], Any] = partial(object.__getattribute__, settings, "_wrapped")
"""Return the settings as they are now, without what `settings` itself costs at each hit.

It calls two functions for a setting, and raises and catches an exception for one that is not set.
"""
