"""Builds the distributions from what is in the checkout, and installs them where nothing else of ours is."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from tests.commands import run_command

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("api", "scheduler", "shared", "worker")
NEEDED: Final = (*PACKAGES, "pyproject.toml", "README.md", "LICENSE")


def tracked() -> list[Path]:
    """The files that are ours, as git says; everything but the compiled ones where there is no git."""
    if shutil.which("git") and (ROOT / ".git").exists():
        words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
        if listed.returncode == 0:  # it refuses a checkout that another user owns
            paths = [Path(name) for name in listed.stdout.decode().split("\0") if name]
            return [path for path in paths if (ROOT / path).is_file()]
    return [
        path.relative_to(ROOT)
        for name in NEEDED
        for path in ((ROOT / name).rglob("*") if (ROOT / name).is_dir() else [ROOT / name])
        if path.is_file() and "__pycache__" not in path.parts
    ]


def copy_to(folder: Path) -> None:
    """A copy of what the distributions are made of, so that building leaves nothing in the checkout."""
    for path in tracked():
        if path.parts[0] in NEEDED:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)


def built(folder: Path) -> tuple[Path, Path]:
    """The wheel and the sdist in *folder*, which test processes may share: the first one that asks builds them."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        out = folder / "dist"
        if not out.exists():
            copy_to(folder / "source")
            _build("sdist", folder / "source", folder / "making")
            _build("wheel", folder / "source", folder / "making")
            (folder / "making").rename(out)
    [wheel], [sdist] = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def wheel_of(sdist: Path, folder: Path) -> Path:
    """The wheel that an installer would build from the sdist."""
    with tarfile.open(sdist) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.0 to 3.11.3 have none
        archive.extractall(folder / "unpacked")
    [source] = (folder / "unpacked").iterdir()
    _build("wheel", source, folder / "wheel")
    [wheel] = (folder / "wheel").glob("*.whl")
    return wheel


def environment(folder: Path, *, lock: str = "requirements.txt", and_more: tuple[str, ...] = ()) -> Path:
    """
    A virtual environment with what a lock names, and *and_more*, and nothing else; its interpreter.

    Everything is a link into the environment that runs this, so that nothing is downloaded.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    python = folder / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run_command([python, "-c", ask], check=True).stdout.strip())
    here = Path(sysconfig.get_path("purelib"))
    pinned = re.findall(r"^([a-z0-9._-]+)(?:\[[^]]*\])?==", (ROOT / lock).read_text("utf-8"), re.MULTILINE)
    for name in (*pinned, *and_more):
        try:
            files = distribution(name).files or []
        except ModuleNotFoundError:  # for another platform
            continue
        for file in files:
            top = file.parts[0]
            if top != ".." and top != "__pycache__" and (here / top).exists() and not (site / top).exists():
                (site / top).symlink_to(here / top)
            elif file.parts[-2:-1] == ("bin",) and top == "..":
                _copy_command(Path(str(distribution(name).locate_file(file))), python)
    return python


def _copy_command(command: Path, python: Path) -> None:
    """Give the environment a command of a library, which names its interpreter in the first line."""
    if command.is_file() and not (python.parent / command.name).exists():
        _, newline, rest = command.read_bytes().partition(b"\n")
        if rest.isascii():
            (python.parent / command.name).write_bytes(b"#!" + str(python).encode() + newline + rest)
            (python.parent / command.name).chmod(0o755)


def install(wheel: Path, python: Path, *words: str) -> None:
    """Install the wheel, without what it depends on."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        *words,
        str(wheel),
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    subprocess.run(command, env=env | {"PIP_CONFIG_FILE": os.devnull}, check=True, capture_output=True, timeout=120)


def _build(kind: str, source: Path, out: Path) -> None:
    """What every installer does to build, in the source's folder: ask its build backend."""
    code = f"import sys, setuptools.build_meta as backend; backend.build_{kind}(sys.argv[1])"
    out.mkdir(parents=True, exist_ok=True)
    done = run_command([sys.executable, "-c", code, str(out)], cwd=source, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
