"""``python -m bench.ticking <lines a second> <seconds>``: lines that begin with the time at which they were printed."""

import sys
import time


def main(rate: int, seconds: int) -> None:
    """Print at a steady rate; what was late is printed at once."""
    began_ns = time.time_ns()
    for number in range(rate * seconds):
        due_ns = began_ns + number * 1_000_000_000 // rate
        wait_ns = due_ns - time.time_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)  # until the moment that is due
        print(time.time_ns(), "a line of some length, as programs print them", flush=True)  # noqa: T201  # the output


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
