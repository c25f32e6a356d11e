"""Which features are enabled: the public names of `rover_overrides.core.switches`."""

from rover_overrides.core.switches import disabled_features, is_enabled, is_installed, raw_setting

# Former names, which an application's settings may still import.
applied, off, on, stated = is_installed, disabled_features, is_enabled, raw_setting

__all__ = ["disabled_features", "is_enabled", "is_installed", "raw_setting"]
