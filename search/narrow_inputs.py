"""What `search.narrow` takes, checked before the model is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.files import first_unused
from search.data_flags import check_data_flags
from search.ranges import RANGES, check_ranges
from search.values import typed


def target(
    share: float | None, params: float | None, macs: float | None, latency: float | None
) -> float | dict[str, float]:
    """The one limit that was given, as `ckrm_tf.narrow` takes it.

    Raises:
        CKRMError: none, or more than one.
    """
    wanted = {"share": share, "params": params, "macs": macs, "latency": latency}
    named = {key: value for key, value in wanted.items() if value is not None}
    if len(named) != 1:
        raise CKRMError(
            "narrow",
            expected="one of --share, --params, --macs and --latency",
            received=", ".join(f"--{key}" for key in named) or "none",
        )
    return share if share is not None else named


def check_numbers(margin: float, **values: int | float | None) -> None:
    """Refuse the numbers that cannot work before the model is read."""
    ranges = RANGES | {"epochs": (0, 1_000_000), "seed": (0, 2**31 - 1)}
    check_ranges(values, ranges)
    if not 0 < margin < 1:
        raise CKRMError("--margin", expected="between 0 and 1", received=margin)
    if values["learning_rate"] == 0:
        raise CKRMError("--learning-rate", expected="above 0", received=0)


def check_one_process(workers: int | None, cluster: str | None) -> None:
    """Refuse workers: fine-tuning is one training, and one is not spread."""
    if cluster is not None or (workers or 1) > 1:
        raise CKRMError(
            "--workers and --cluster",
            expected="a command with several trainings: run, final or compare",
            received="narrow, whose fine-tuning is one",
        )


def check_data(data: str | None, options: Mapping[str, Any]) -> None:
    """Refuse options of data where there are none, or of another source."""
    if data is not None:
        check_data_flags(data, options)
    elif options:
        raise CKRMError(f"--{next(iter(options))}", expected="--data with it", received="none")


def taught(distill: Any, data: str | None, epochs: int) -> bool:
    """Whether the model as given teaches; refused where nothing is trained."""
    found: bool = typed("--distill", distill, bool)
    if found and (data is None or not epochs):
        received = "no --data" if data is None else "--epochs 0"
        raise CKRMError("--distill", expected="images to train on", received=received)
    return found


def listed(text: Any) -> list[str]:
    """The names in a text with commas, with or without brackets."""
    parts = text if isinstance(text, list | tuple) else str(text).strip("[]()").split(",")
    return [str(part).strip() for part in parts if str(part).strip()]


@contextmanager
def new_folder(out: str | None, model: str) -> Iterator[Path]:
    """A folder of its own for the result: nothing is overwritten.

    After an error it is gone again, with the folders made for it, unless something is in it.

    Args:
        out: as given; by default the first unused runs/narrow-NAME-N.
        model: names it.

    Raises:
        CKRMError: when it is in use.
    """
    if out is None:
        name = Path(model).stem
        folder = first_unused(Path("runs"), lambda n: f"narrow-{name}-{n}")
    else:
        folder = Path(out).expanduser()
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CKRMError("--out", expected="a new or empty folder", received=f"{out}, in use")
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except BaseException:
        with suppress(OSError):  # something is in it
            for place in made:
                place.rmdir()
        raise
