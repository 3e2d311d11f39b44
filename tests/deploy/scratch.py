"""
A root folder to try things in: this machine's system below, whatever is written on top, and gone afterwards.

It stands in for a container's file system, and this machine's Python for the one of the base image. Made of overlayfs
in namespaces of its own, so it needs Linux, and root or the right to make user namespaces.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

PYTHON: Final = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
PATH: Final = "/opt/shim:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
KEPT: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CERT", "SSL_CERT_FILE", "HTTPS_PROXY")
"""How this machine reaches its package index; a build on another one has its own ways."""


SHIM: Final = "/opt/shim"
"""Where `python` is, as a base image has it; a link would not do: Python looks for its library beside itself."""

OWN: Final = ("opt", "srv", "app", "build", "tmp", "proc", "dev", "sys")
"""Folders of which nothing of this machine is taken."""


class Scratch:
    """One such root. For ``with``; inside of the namespaces that ``enter_namespaces`` makes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix="runfleet-deploy-"))
        self.root = self.folder / "root"

    def __enter__(self) -> Scratch:
        _mount("-t", "tmpfs", "tmpfs", str(self.folder))
        if is_root():
            self._overlay()
        else:
            self._assemble()
        for place in ("proc", "dev", "sys"):
            _mount("--rbind", f"/{place}", str(self.root / place))
        _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(self.root / "tmp"))
        python = self.path(f"{SHIM}/python")
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(PYTHON)} "$@"\n')
        python.chmod(0o755)
        if is_root():
            for folder in (self.root / PYTHON[1:]).parents:  # a base image's Python is for every user
                if folder != self.root and self.root in folder.parents and not folder.stat().st_mode & 0o001:
                    folder.chmod(folder.stat().st_mode | 0o055)
        return self

    def _overlay(self) -> None:
        """All of this machine's root folder, with what is written going to a layer of its own."""
        for name in ("upper", "work", "root"):
            (self.folder / name).mkdir()
        layers = f"lowerdir=/,upperdir={self.folder}/upper,workdir={self.folder}/work"
        _mount("-t", "overlay", "overlay", "-o", layers, str(self.root))

    def _assemble(self) -> None:
        """Folder by folder, for a user namespace, which may not lay anything over the whole."""
        self.root.mkdir()
        _mount("-t", "tmpfs", "tmpfs", str(self.root))
        for place in sorted(Path("/").iterdir()):
            target = self.root / place.name
            if place.is_symlink():
                target.symlink_to(place.readlink())
            elif place.is_dir():
                target.mkdir()
                if place.name not in OWN:
                    _mount("--rbind", str(place), str(target))

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self.folder], check=True)  # and with it all that is mounted below
        self.folder.rmdir()  # never a whole tree: this machine's own folders were in there

    def path(self, inside: str) -> Path:
        """Where *inside*, an absolute path of the root, is for us."""
        return self.root / inside.lstrip("/")

    def run(self, command: str, folder: str, env: Mapping[str, str]) -> None:
        """Run a shell command in it, as a Dockerfile's RUN does."""
        say(f"  {self.name}: {command}")
        words = ["chroot", str(self.root), "sh", "-ec", f"cd {shlex.quote(folder)}; {command}"]
        own = {name: os.environ[name] for name in KEPT if name in os.environ}
        subprocess.run(words, env={"PATH": PATH, "HOME": "/tmp", **own, **env}, check=True)

    def start(
        self, command: Sequence[str], folder: str, env: Mapping[str, str], *, user: str = "", log: Path
    ) -> Process:
        """Start a process in it, as the first one of a process namespace of its own: no init is above it."""
        chroot = shutil.which("chroot", path=PATH) or "chroot"
        words = [chroot, *([f"--userspec={user}"] if user and is_root() else []), str(self.root)]
        inner = f"cd {shlex.quote(folder)}; exec {shlex.join(command)}"
        with log.open("w") as out:
            popen = subprocess.Popen(
                ["unshare", "--pid", "--fork", "--kill-child", *words, "sh", "-c", inner],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        return Process(popen, log)


class Process:
    """A started process, first in its namespace."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self._popen = popen
        self._log = log

    def said(self) -> str:
        """What it printed so far."""
        return self._log.read_text(errors="replace")

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    def stop(self, patience_s: float) -> int:
        """SIGTERM to it, and to it only; its exit code."""
        own = self._popen.pid
        for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split():
            os.kill(int(pid), signal.SIGTERM)
        return self.wait(patience_s)

    def wait(self, patience_s: float) -> int:
        """Its exit code, once it has ended."""
        return self._popen.wait(patience_s)

    def kill(self) -> None:
        """End it for certain."""
        self._popen.kill()
        self._popen.wait()


def say(line: str) -> None:
    """Tell the person who waits."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def is_root() -> bool:
    """Whether user ids can be changed here: root itself, and not root of a namespace that knows one id only."""
    return Path("/proc/self/uid_map").read_text().split()[2] != "1" and os.geteuid() == 0


def enter_namespaces() -> None:
    """Begin this program anew in a mount namespace of its own (and as root of a user namespace, unless it is root)."""
    mark = "RUNFLEET_DEPLOY_INSIDE"
    if mark in os.environ:
        return
    if sys.platform != "linux" or not shutil.which("unshare"):
        sys.exit("make deploy-check needs Linux and its `unshare`")
    kind = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    words = ["unshare", *kind, sys.executable, *sys.orig_argv[1:]]
    os.execvpe(words[0], words, os.environ | {mark: "yes"})


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)
