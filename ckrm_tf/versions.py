"""The versions of what trains, measures and exports, wherever they are told."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version

# What every result depends on, by the name that it is imported by.
LIBRARIES = ("ckrm_tf", "tensorflow", "keras", "numpy")
# How records call a package, where not by that name.
NAMES = {"ckrm_tf": "ckrm-tf"}
# Distributions of one and the same package.
DISTRIBUTIONS = {
    "ckrm_tf": ("ckrm-tf",),
    "tensorflow": (
        "tensorflow",
        *(f"tensorflow-{build}" for build in ("cpu", "intel", "macos", "rocm", "gpu", "cpu-aws")),
        *("tf-nightly", "tf-nightly-cpu", "tf-nightly-intel", "intel-tensorflow"),
    ),
    "keras": ("keras", "keras-nightly"),
    "keras_tuner": ("keras-tuner",),
}


def library_version(package: str, version_of: Callable[[str], str] = version) -> str | None:
    """The version of an installed package, whatever its distribution is called.

    Nothing is imported.

    Args:
        package: the name that it is imported by.
        version_of: tells the version of a distribution, or raises `PackageNotFoundError`.

    Example:
        >>> import numpy
        >>> library_version("numpy") == numpy.__version__
        True
        >>> library_version("no_such_package") is None
        True
    """
    for name in DISTRIBUTIONS.get(package, (package,)):
        try:
            return version_of(name)
        except PackageNotFoundError:
            continue
    # One by another name: every distribution is asked what it holds, which takes a while.
    for name in packages_distributions().get(package, ()):
        return version_of(name)
    return None


def versions(*more: str) -> dict[str, str]:
    """The versions of Python, of this package and of the libraries below it.

    Where Keras is imported, `backend` tells on what it computes. What is not installed is left out.

    Args:
        more: further packages to tell of.
    """
    found = {"python": platform.python_version()}
    keras = sys.modules.get("keras")
    backend = () if keras is None else (keras.backend.backend(),)
    for package in dict.fromkeys((*LIBRARIES, *more, *backend)):
        number = library_version(package)
        if number is not None:
            found[NAMES.get(package, package)] = number
    return found | ({"backend": backend[0]} if backend else {})


def difference(here: Mapping[str, str], there: Mapping[str, str]) -> tuple[str, str, str] | None:
    """The first version in which two machines differ: its name, and both; None without.

    Of Python the first two numbers count.

    Example:
        >>> difference({"python": "3.12.1"}, {"python": "3.12.9"})
        >>> difference({"python": "3.12.1", "keras": "3.15.0"}, {"python": "3.12.1"})
        ('keras', '3.15.0', 'none')
    """
    for name in (*here, *(n for n in there if n not in here)):
        own, other = (_counted(name, found.get(name, "none")) for found in (here, there))
        if own != other:
            return name, own, other
    return None


def _counted(name: str, number: str) -> str:
    return ".".join(number.split(".")[:2]) if name == "python" else number
