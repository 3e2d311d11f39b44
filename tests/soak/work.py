"""
What the tasks of the soak run: a program, and a module with a function, that write down by themselves when they ran.

It is copied into the fleet's folder and imports nothing of ours, so that what it says depends on nothing under test.
Each line of ``$HISTORY`` is ``<microseconds> <word> <run> <pid> <name=value>…``, appended by one write:

* ``start``: a process of this run is there; with all that its environment says of it.
* ``beat``: it still is, and has printed ``lines`` lines so far.
* ``printing``: it is about to print as far as ``lines``.
* ``end``: it is about to exit with ``code``; a signal may have come between printing ``most`` lines and counting them.
* ``stray``: a daemon that it left behind still lives.
"""

import os
import signal
import sys
import time

BEAT_S = 0.1
_NAMES = {
    "task": "RUNFLEET_TASK",
    "execution": "RUNFLEET_EXECUTION_ID",
    "replica": "RUNFLEET_REPLICA_INDEX",
    "attempt": "RUNFLEET_RETRY_ATTEMPT",
    "tick": "RUNFLEET_SCHEDULED_FOR",
}


class Diary:
    """What one process says of itself."""

    def __init__(self) -> None:
        self.run = os.environ["RUNFLEET_RUN_ID"]
        self.attempt = int(os.environ["RUNFLEET_RETRY_ATTEMPT"])
        self.lines = 0
        self.begun = 0
        self._fd = os.open(os.environ["HISTORY"], os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self.say("start", **{name: os.environ.get(variable, "") for name, variable in _NAMES.items()})

    def say(self, word: str, **facts: object) -> None:
        """Add a line to the history."""
        words = [str(time.time_ns() // 1000), word, self.run, str(os.getpid())]
        words += [f"{name}={value}" for name, value in facts.items()]
        os.write(self._fd, (" ".join(words) + "\n").encode())

    def print(self, count: int = 1) -> None:
        """Print the next numbered lines, and write down how far it came."""
        self.begun = self.lines + count
        if count > 1:
            self.say("printing", lines=self.begun)
        left = "".join(f"line {n} of {self.run}\n" for n in range(self.lines, self.lines + count)).encode()
        while left:
            left = left[os.write(1, left) :]
        self.lines += count
        self.say("beat", lines=self.lines)

    def live(self, seconds: float) -> None:
        """Print a line every tenth of a second."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(BEAT_S, left_s))  # the work of this task is to last
            self.print()

    def end(self, code: int = 0) -> None:
        """Say that it is over, and close."""
        self.say("end", lines=self.lines, most=self.begun, code=code)
        os.close(self._fd)


def call(seconds: float = 0.2) -> int:
    """The callable task: lives a while and answers how many lines it printed."""
    diary = Diary()
    diary.print()
    diary.live(seconds)
    diary.end()
    return diary.lines


def main(kind: str) -> int:
    """The command tasks; the exit code."""
    diary = Diary()

    def leave(number: int, frame: object) -> None:
        if kind != "stubborn":
            diary.say("end", lines=diary.lines, most=diary.begun, code=128 + number)
            os._exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    seconds = float(os.environ.get("RUNFLEET_PARAM_SECONDS", "0"))
    diary.print()
    if kind == "leaving":
        _leave_a_daemon(diary)
    if kind in ("chatty", "loud"):
        for _ in range(10):
            diary.print(200 if kind == "chatty" else 40)
            time.sleep(BEAT_S / 10)  # the work of this task is to last
    diary.live(seconds)
    code = 3 if kind == "hopeless" or (kind == "failing" and diary.attempt < 2) else 0
    diary.end(code)
    return code


def _leave_a_daemon(diary: Diary) -> None:
    """A grandchild in a session of its own, which nobody waits for and which would live for half a minute."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for _ in range(300):
        diary.say("stray")
        time.sleep(BEAT_S)  # the work of this task is to last
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
