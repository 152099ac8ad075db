"""From the words of a command line to typed arguments, with commands as small as they can be."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from ckrm_tf.data.options import Option
from ckrm_tf.errors import CKRMError
from search.cli import main

SEEN: list[dict[str, Any]] = []

MORE = {
    "from": Option("from", str, "a", "where it begins", ("a", "b")),
    "level": Option("level", bool, True, "whether"),
    "noise": Option("noise", float, 0.5, "how much"),
    "parts": Option("parts", tuple[int, ...], (1, 2), "which"),
}


def more() -> dict[str, Option]:
    return MORE


def command(
    model: str,
    second: int = 2,
    *,
    csv: str | None = None,
    pairs: int | None = None,
    pointwise: bool = False,
    share: float | None = None,
    **flags: Annotated[Any, more],
) -> None:
    """See what comes.

    Args:
        model: a file.
        second: a number.
        csv: another file.
        pairs: how many.
        pointwise: whether.
        share: how much.
        flags: see --help.
    """
    given = {"model": model, "second": second, "csv": csv, "pairs": pairs}
    SEEN.append(given | {"pointwise": pointwise, "share": share} | flags)


BARE = {"second": 2, "csv": None, "pairs": None, "pointwise": False, "share": None}


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["run#1.h5"], {"model": "run#1.h5"}),
        (["1e3", "7"], {"model": "1e3", "second": 7}),
        (["--model=2024_11_25", "7"], {"model": "2024_11_25", "second": 7}),
        (["None", "--csv", "null"], {"model": "None"}),
        (["[a]", "--csv", "None"], {"model": "[a]", "csv": "None"}),
        (["m", "--csv=a=b", "--pairs", "null"], {"model": "m", "csv": "a=b"}),
        (["m", "--csv", "--", "--pairs=3"], None),
        (["m", "--csv=--", "--pairs=3"], {"model": "m", "csv": "--", "pairs": 3}),
        (["-", "--csv", "-"], {"model": "-", "csv": "-"}),
        (["m", "--csv", ""], {"model": "m", "csv": ""}),
        (["m", "--csv", "two words, and a comma"], {"model": "m", "csv": "two words, and a comma"}),
        (["--pointwise", "m"], {"model": "m", "pointwise": True}),
        (["--pointwise", "false", "m"], {"model": "m"}),
        (["m", "--pointwise=false"], {"model": "m"}),
        (["m", "--pointwise", "yes"], {"model": "m", "pointwise": True}),
        (["m", "--nopointwise"], {"model": "m"}),
        (["m", "--no-level", "--pointwise"], {"model": "m", "level": False, "pointwise": True}),
        (["m", "--share", "-1e-3"], {"model": "m", "share": -0.001}),
        (["m", "--share", ".5", "--share", ".25"], {"model": "m", "share": 0.25}),
        (["m", "--noise", "1"], {"model": "m", "noise": 1.0}),
        (["m", "--from", "b", "--parts", "3,4"], {"model": "m", "from": "b", "parts": (3, 4)}),
        (["m", "-c", "x"], {"model": "m", "csv": "x"}),
    ],
)
def test_words_become_values(words, values):
    SEEN.clear()
    if values is None:
        with pytest.raises(SystemExit):
            main(command, words)
        assert not SEEN
        return
    main(command, words)
    # Types too: 1 is no True.
    assert repr(SEEN) == repr([BARE | values]) or [BARE | values] == SEEN
    assert {k: type(v) for k, v in SEEN[0].items()} == {
        k: type(v) for k, v in (BARE | values).items()
    }


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["model: expected a value", "--help"]),
        (["m", "2", "x"], ["no further one", "'x'"]),
        (["m", "--pair", "3"], ["unknown flag", "'pair'", "Did you mean 'pairs'?"]),
        (["m", "--levl"], ["Did you mean 'level'?"]),
        (["m", "--nopairs"], ["unknown flag", "'nopairs'"]),
        (["m", "-p"], ["unknown flag", "'-p'"]),
        (["m", "-x=3"], ["unknown flag", "'-x'"]),
        (["m", "--"], ["unknown flag"]),
        (["m", "--csv"], ["--csv: expected a value"]),
        (["m", "--csv", "--pairs=2"], ["--csv: expected a value"]),
        (["m", "--pairs", "many"], ["--pairs: expected a whole number, received 'many'"]),
        (["m", "--pairs="], ["--pairs: expected a whole number, received ''"]),
        (["m", "--pairs", "2.0"], ["--pairs: expected a whole number"]),
        (["m", "seven"], ["--second: expected a whole number, received 'seven'"]),
        (["m", "--pointwise", "maybe"], ["--pointwise: expected true or false"]),
        (["m", "--share", "nan"], ["--share: expected a finite number, received nan"]),
        (["m", "--share", "[1]"], ["--share: expected a number"]),
        (["m", "--from", "c"], ["--from", "one of a, b", "'c'"]),
        (["m", "--parts", "a,b"], ["--parts: expected a list of whole numbers"]),
        (["m", "--pairs", "x\ny" * 500], ["--pairs: expected a whole number", " ... "]),
    ],
)
def test_a_mistake_is_one_line(words, parts, capsys):
    SEEN.clear()
    with pytest.raises(SystemExit) as stop:
        main(command, words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert len(error) < 500
    assert all(part in error for part in parts), error
    assert not SEEN


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["m", "--help"]])
def test_help_names_every_argument(words, capsys):
    SEEN.clear()
    main(command, words)
    said = capsys.readouterr().out
    for name in ("MODEL", *BARE, *MORE):
        assert name in said.replace("--", "")
    assert "where it begins: a, b [a]" in said
    assert "whether [true]" in said
    assert "which [1,2]" in said
    assert not SEEN


def test_what_the_system_refuses_is_one_line(tmp_path, capsys):
    def write(path: str) -> None:
        with open(path, "w") as file:
            file.write("x")

    with pytest.raises(SystemExit) as stop:
        main(write, [str(tmp_path)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error == f"error: {tmp_path}: expected to read and write it, received Is a directory\n"


def test_a_fault_of_the_program_is_not_hidden():
    def broken() -> None:
        raise TypeError("ours")

    with pytest.raises(TypeError, match="ours"):
        main(broken, [])
    with pytest.raises(CKRMError):
        raise CKRMError("not all errors are caught here")
