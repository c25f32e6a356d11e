"""A made-up fork.toml with a matrix."""

HEAD = """
[upstream]
name = "tally"
track = ">=1"
[overrides]
package = "tally_overrides"
[probes]
control = ["tests/test_control.py"]
[[servers]]
id = "quick"
command = ["quick"]
url = "unix://{socket}"
[[servers]]
id = "slow"
command = ["slow"]
url = "unix://{socket}"
[[databases]]
id = "big"
command = ["big"]
url = "big:///{name}"
[[modes]]
id = "loud"
settings = { LOUD = true }
gating = false
[[environments]]
id = "py311-new"
python = "3.11"
requires = ["Flask==3.*"]
servers = ["quick"]
"""


MATRIX = """
[matrix]
servers = ["quick", "slow"]
databases = ["own", "big"]
modes = ["profile", "loud"]
[[matrix.environments]]
id = "new"
pythons = ["3.11", "3.12"]
requires = ["Flask==3.*"]
releases = ">=2"
"""
