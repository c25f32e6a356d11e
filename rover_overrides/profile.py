"""The settings that Rover runs with: `from rover_overrides.profile import *` enables them.

The import belongs in the application's settings. Each entry stands for a patch of the fork, live
or retired: if an upstream setting made a patch unnecessary, that setting is here. The
maintainers' tools read `SETTINGS` as a literal.
"""

from __future__ import annotations

SETTINGS: dict[str, dict[str, object]] = {
    "text-conditions": {
        "CACHEOPS_SKIP_FIELDS": ("FileField", "BinaryField", "JSONField", "ArrayField")
    },
    "stepwise-invalidation": {"CACHEOPS_INSIDEOUT": True},
}

globals().update(
    {name: value for settings in SETTINGS.values() for name, value in settings.items()}
)

__all__ = [name for settings in SETTINGS.values() for name in settings]
