"""A callable for `runfleet.toml`: an ordinary function, its parameters are keyword arguments."""


def greet(name: str = "world", times: int = 1) -> dict[str, object]:
    """Print a greeting. What is returned becomes the run's output ``return``."""
    for _ in range(times):
        print(f"Hello, {name}!", flush=True)  # noqa: T201  # printing is how a task logs
    return {"greeted": name, "times": times}
