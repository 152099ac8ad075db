"""The parts of a report in their order: a new one is a function and a line here."""

from __future__ import annotations

from ckrm_tf.reporting.record import Kind
from ckrm_tf.reporting.sections import compared, images, making, overview, paper, results, trainings
from ckrm_tf.reporting.sections.base import Section

COMPARE: tuple[Kind, ...] = ("compare",)
EVERY: tuple[Kind, ...] = ("search", "compare", "narrow")

SECTIONS: tuple[Section, ...] = (
    Section("overview", "At a glance", overview.overview),
    Section("compared", "At a glance", compared.glance, COMPARE),
    Section("held", "What holds over new seeds", compared.held, COMPARE),
    Section("budget", "After so many trainings", compared.budget, COMPARE),
    Section("effort", "What it takes", compared.effort, COMPARE),
    Section("smallest", "AUC against size", compared.smallest, COMPARE),
    Section("judged", "The verdict on unseen images", compared.judged, COMPARE),
    Section("steps", "Trainings", compared.steps, COMPARE),
    Section("verdicts", "Verdicts", results.verdicts),
    Section("checks", "Checks", making.checks),
    Section("tradeoff", "AUC against size", results.tradeoff),
    Section("path", "The way of the search", results.search_path),
    Section("lambda", "Lambda by layer", results.layers),
    Section("classes", "Classes", images.classes),
    Section("disagreements", "Images on which the two networks disagree", images.disagreements),
    Section("trainings", "Trainings", trainings.every_training),
    Section("seeds", "Seeds and folds", trainings.seeds),
    Section("excluded", "What was excluded, and why", trainings.excluded),
    Section("export", "Export", making.export),
    Section("paper", "For a paper", paper.paper),
    Section("environment", "Environment and command", making.environment, EVERY),
)
