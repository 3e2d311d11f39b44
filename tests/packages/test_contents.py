"""The wheel and the sdist hold all of our packages, what is no Python included."""

import tarfile
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

from tests.packages.builds import PACKAGES, tracked

SOURCE = "api/dashboard/ui/"
"""What the dashboard is built from is for those who change it; distributions hold what was built."""


def ours() -> set[str]:
    return {str(path) for path in tracked() if path.parts[0] in PACKAGES and not str(path).startswith(SOURCE)}


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    names = {name for name in ZipFile(wheel).namelist() if name.split("/")[0] in PACKAGES}
    assert names | {"shared/cli/runfleet"} == ours()


def test_the_wheel_brings_the_command(wheel: Path) -> None:
    scripts = {name: ZipFile(wheel).read(name) for name in ZipFile(wheel).namelist() if ".data/scripts/" in name}
    assert [name.rpartition("/")[2] for name in scripts] == ["runfleet"]
    assert next(iter(scripts.values())).startswith(b"#!/bin/sh\n")


def test_the_sdist_holds_every_file_of_the_packages(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames() if not archive.getmember(name).isdir()}
    assert {name for name in names if name.split("/")[0] in PACKAGES} == ours()


def test_the_packages_say_that_they_are_typed() -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= ours()


def test_nothing_else_that_is_installed_owns_the_names_of_our_packages() -> None:
    owners = packages_distributions()
    assert {package: set(owners.get(package, ["runfleet"])) for package in PACKAGES} == {
        package: {"runfleet"} for package in PACKAGES
    }
