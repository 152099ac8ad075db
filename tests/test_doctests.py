"""The examples in docstrings run, and every public name has one."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

import ckrm_tf
from ckrm_tf import stats

ROOT = Path(__file__).parent.parent
PROMPT = ">>>"
# `...` stands for what differs from one machine or version to the next.
FLAGS = doctest.ELLIPSIS

# KerasTuner's locks ask for the thread's name the old way.
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted(
    module_name(path) for path in (ROOT / "ckrm_tf").rglob("*.py") if PROMPT in path.read_text()
)


def failures(examples: doctest.DocTest) -> tuple[int, list[str]]:
    """How many examples failed, and what was printed about them."""
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    found = runner.run(examples, out=said.append)
    return found.failed, said


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_give_what_they_say(name):
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    tests = [test for test in found if test.examples]
    assert tests, "the prompt is in no docstring"
    for test in tests:
        failed, said = failures(test)
        assert not failed, "".join(said)


@pytest.mark.parametrize(("shown", "failed"), [("3", 0), ("4", 1)])
def test_an_example_that_is_wrong_is_found(shown, failed):
    text = f">>> 1 + 2\n{shown}\n"
    wrong = doctest.DocTestParser().get_doctest(text, {}, "wrong", "wrong.py", 1)
    assert failures(wrong)[0] == failed


def with_example(source: str, name: str) -> bool:
    """Whether the docstring of a function or class of this source has an example."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return PROMPT in (ast.get_docstring(node) or "")
    return False


PUBLIC = [(ckrm_tf, name) for name in ckrm_tf.__all__]
# What the functions of `stats` return is shown by their own examples.
PUBLIC += [(stats, name) for name in stats.__all__ if not isinstance(getattr(stats, name), type)]


@pytest.mark.parametrize(("package", "name"), PUBLIC)
def test_every_public_name_has_an_example(package, name):
    home = importlib.import_module(getattr(package, name).__module__)
    assert with_example(Path(home.__file__).read_text(), name)


ONE_OF_TWO = '''
def bare():
    """No example."""

def shown():
    """One.

    >>> 1
    1
    """
'''


@pytest.mark.parametrize(("name", "seen"), [("bare", False), ("shown", True), ("absent", False)])
def test_the_look_for_examples_sees_that_one_is_missing(name, seen):
    assert with_example(ONE_OF_TWO, name) is seen
