"""The settings Rover runs with: `from rover_overrides.profile import *` in the application's settings turns them on.

Each entry stands for a patch, live or retired, of the fork: where upstream made a patch unnecessary by a setting, that
setting is here. The maintainers' tools read `SETTINGS` as a literal.
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
