"""Define tox's environments from fork.toml."""

from pathlib import Path

from scripts.probes.tox_plugin import hooks

tox_extend_envs, tox_add_core_config = hooks(Path(__file__).parent)
