"""Lets the tests import what runs inside the gate's processes by the same names."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
