"""Run a program that must not outlive its parent.

The program is killed when standard input closes, however the parent died. The exit code is 0 if the
guard stopped the program, else the program's own.
"""

import os
import signal
import subprocess
import sys
import threading


def main(command):
    """Run the command until it ends, a signal arrives, or the parent ends."""
    # `--once`: the command ends by itself, in a process group that is killed as a whole.
    user, once = {}, command[0] == "--once"
    command = command[once:]
    if command[0] == "--user":
        # `user` alone would keep root's supplementary groups.
        user = {"user": int(command[1]), "extra_groups": []}
        command = command[2:]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **user)
    stopped = threading.Event()

    def stop(*_):
        stopped.set()
        process.kill()

    def watch():
        while os.read(0, 1024):
            pass
        stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not once:
        threading.Thread(target=watch, daemon=True).start()
    code = process.wait()
    sys.exit(0 if stopped.is_set() else code)


if __name__ == "__main__":
    main(sys.argv[1:])
