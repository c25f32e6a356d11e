"""Another client of the server: sends commands without a pause and measures each latency, in windows that are opened and closed."""

from __future__ import annotations

import json
import sys
import time
from threading import Event, Thread
from typing import Any

import redis


class LatencyClient:
    """Sends GET and PING in turn on one connection."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._stop = Event()
        self._waits: list[float] = []
        self._thread: Thread | None = None

    def open_window(self) -> None:
        """Open a window."""
        self._waits, self._stop = [], Event()
        self._thread = Thread(target=self._send_without_pause)
        self._thread.start()
        while len(self._waits) < 100:
            time.sleep(0.001)

    def close_window(self) -> dict[str, float]:
        """Close the window and sum it up, in seconds."""
        self._stop.set()
        assert self._thread
        self._thread.join()
        waits = sorted(self._waits)
        return {
            "longest": waits[-1],
            "p99.9": waits[int(len(waits) * 0.999)],
            "answers": len(waits),
        }

    def _send_without_pause(self) -> None:
        connection = self._client.connection_pool.get_connection()
        commands = [connection.pack_command("GET", "nothing"), connection.pack_command("PING")]
        while not self._stop.is_set():
            for command in commands:
                began = time.perf_counter()
                connection.send_packed_command(command)
                connection.read_response()
                self._waits.append(time.perf_counter() - began)
        self._client.connection_pool.release(connection)


def main() -> None:
    """Answer until standard input ends."""
    latency_client = LatencyClient(sys.argv[1])
    commands: dict[str, Any] = {
        "open_window": latency_client.open_window,
        "close_window": latency_client.close_window,
    }
    sys.stdout.write("0\n")
    sys.stdout.flush()
    for line in sys.stdin:
        command, _ = json.loads(line)
        sys.stdout.write(json.dumps(commands[command]()) + "\n")
        sys.stdout.flush()


main()
