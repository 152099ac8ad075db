"""`ckrm-tf report RUN`: one page about a run folder, with its figures and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from rich.console import Console

from ckrm_tf.errors import CKRMError
from ckrm_tf.reporting import write_report
from search.cli import main
from search.data_flags import data_flags
from search.given import NOBODY, Given
from search.quiet import import_quietly


def report_run(
    folder: str,
    latency: bool = False,
    cases: bool = False,
    model: str | None = None,
    custom: str | None = None,
    unsafe: bool = False,
    baselines: str | None = None,
    **options: Annotated[Any, data_flags],
) -> None:
    """Write report.html into the folder of a search, a comparison or a narrowing.

    report.md, report.json, trials.csv (strategies.csv of a comparison), table.tex and figures/
    stand beside it. Each report is made anew; nothing else in the folder is touched, but for a
    MODEL_CARD.md beside the export where there is none.

    Args:
        folder: the --out of `search.run`, `search.compare` or `search.narrow`.
        latency: build start and recommended network and measure their time for a batch of 1 and of
            32 images, by TensorFlow on the CPU, LiteRT and ONNX Runtime where they are installed.
            The recommended network is timed once more with its widths rounded up to multiples of 8.
        cases: read the data again and let both trained networks judge each image of the test split:
            figures by class, ROC curves, the images on which they disagree. What latency and cases
            find stays in the folder for later reports.
        model: the model that was searched or narrowed, for latency and cases: of a search always,
            of a narrowing where it lies elsewhere now.
        custom: a Python file that defines the model's own layers.
        unsafe: let code inside the model's file run.
        baselines: the folder of a comparison with the data and recipe of this search: the networks
            of its unguided searches stand beside those of the search, in later reports too.
        options: of the data, where they lie elsewhere now; --help lists them.
    """
    place = Path(str(folder)).expanduser()
    console = Console(width=None if Console().is_terminal else 160)
    if options and not cases:
        raise CKRMError(
            f"--{next(iter(options)).replace('_', '-')}",
            expected="--cases beside it",
            received="a report that reads no images",
        )
    given = Given(model, custom, unsafe)
    if given != NOBODY and not (latency or cases):
        raise CKRMError(
            "--model, --custom, --unsafe",
            expected="--latency or --cases beside them",
            received="a report that calls no network",
        )
    if latency or cases or baselines is not None:
        # TensorFlow takes seconds that the page itself needs not.
        import_quietly()
    if latency or cases:
        from search.report_models import add_evidence, add_latency  # noqa: PLC0415 - as above

        if cases:
            add_evidence(console, place, options, given=given)
        if latency:
            add_latency(console, place, given=given)
    if baselines is not None:
        from search.report_baselines import add_baselines  # noqa: PLC0415 - as above

        add_baselines(console, place, baselines)
    path = write_report(place)
    console.print(f"written   {path}", highlight=False, soft_wrap=True)


def report_at_end(console: Console, folder: Path) -> None:
    """The report of a command that has ended; what it cannot show fails nothing."""
    try:
        path = write_report(folder)
    except Exception as error:  # whatever it is, the search has ended well
        console.print(
            f"no report    {type(error).__name__}: {error}", highlight=False, soft_wrap=True
        )
        return
    console.print(f"report       {path}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main(report_run)
