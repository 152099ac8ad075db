"""`ckrm-tf COMMAND ...`: the commands by name, each imported when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from search.quiet import import_quietly
from search.stopping import stop_at_once


@dataclass(frozen=True)
class Command:
    """Where a command is, what it does in a line, and whether it goes on after an end."""

    module: str
    function: str
    does: str
    resumes: bool = False


# A new command is a file of its own and a line here.
COMMANDS = {
    "run": Command("search.run", "run", "search for the narrowest network whose AUC holds", True),
    "measure": Command("search.measure", "report", "how redundant each convolution of a model is"),
    "narrow": Command("search.narrow", "narrow_model", "a narrower model with its weights, judged"),
    "cost": Command("search.cost", "cost_of", "parameters and MACs of a model, layer by layer"),
    "compare": Command("search.compare", "compare", "guided against unguided search", True),
    "final": Command("search.final", "final", "retrain the result, open the test split", True),
    "report": Command(
        "search.report", "report_run", "one page about a run, with figures and checks"
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; without one, list them."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(usage())
        return
    # The imports take seconds.
    stop_at_once()
    # Fire takes a moment, and the list of commands needs it not.
    from search.cli import main as run_command  # noqa: PLC0415
    from search.cli import refuse  # noqa: PLC0415

    name, *rest = arguments
    if name not in COMMANDS:
        refuse("command", name, COMMANDS)
    command = COMMANDS[name]
    # A report shows what is there already, and help needs nothing.
    if name != "report" and not {"-h", "--help"} & set(rest):
        import_quietly()
    run_command(getattr(import_module(command.module), command.function), rest)


def stop_line(function: str) -> str:
    """What a command says when it is stopped; `function` is the name of the command's function."""
    goes_on = any(c.resumes for c in COMMANDS.values() if c.function == function)
    after = "goes on where it stopped" if goes_on else "begins anew: it keeps nothing of this"
    return f"stopped; the same command {after}"


def usage() -> str:
    """The list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.does}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ckrm-tf COMMAND ...",
            *lines,
            "ckrm-tf COMMAND --help explains one; python -m search.COMMAND is the same.\n",
        ]
    )
