"""How fast a lean, warm process can fork a child that calls nothing and ends, one after another or a few at once."""

import os
import sys
import time


def main(count: int, at_once: int) -> str:
    """Fork *count* times; the line to print."""
    began_s = time.time()
    alive = 0
    for _ in range(count):
        if alive == at_once:
            os.wait()
            alive -= 1
        if os.fork() == 0:
            os._exit(0)
        alive += 1
    for _ in range(alive):
        os.wait()
    return f'{{"done": {count}, "began_s": {began_s}, "ended_s": {time.time()}}}'


if __name__ == "__main__":
    print("ready", flush=True)  # noqa: T201  # the protocol of a peer
    sys.stdin.readline()
    print(main(int(sys.argv[1]), int(sys.argv[2])), flush=True)  # noqa: T201
