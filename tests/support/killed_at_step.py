"""Runs the command line, and kills this process at a step of a rebase: STEP WORDS..."""

import os
import runpy
import signal
import sys
from pathlib import Path

STEP = sys.argv.pop(1)


def kill_at_step(event, arguments):
    if event == "scripts.rebase" and arguments == (STEP,):
        os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(kill_at_step)
sys.path[0] = str(Path.cwd())
runpy.run_module("scripts", run_name="__main__", alter_sys=True)
