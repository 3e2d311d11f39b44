"""How fast a lean process can start ``/bin/true`` and wait for it, one after another or a few at once."""

import os
import sys
import time


def main(count: int, at_once: int) -> str:
    """Start *count* processes; the line to print."""
    began_s = time.time()
    alive = 0
    for _ in range(count):
        if alive == at_once:
            os.wait()
            alive -= 1
        os.posix_spawn("/bin/true", ["true"], {})
        alive += 1
    for _ in range(alive):
        os.wait()
    return f'{{"done": {count}, "began_s": {began_s}, "ended_s": {time.time()}}}'


if __name__ == "__main__":
    print("ready", flush=True)  # noqa: T201  # the protocol of a peer
    sys.stdin.readline()
    print(main(int(sys.argv[1]), int(sys.argv[2])), flush=True)  # noqa: T201
