"""Sentences and numbers of a report."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_records import (
    JUDGED,
    SETTINGS,
    bare_record,
)

from ckrm_tf.reporting import words


def test_sentences_of_the_verdict(full):
    assert words.verdict(full.verdict).startswith("Equivalent at a margin of 0.02 (787 images")
    wide = replace(full.verdict, status="not shown", low=-0.05, high=0.01)
    assert "no proof of a loss" in words.verdict(wide)
    assert "some AUC was lost" in words.verdict(replace(wide, high=-0.001))
    none = replace(full.verdict, status="no verdict", low=None, high=None)
    assert words.verdict(none).startswith("No verdict about networks")
    assert words.verdict(None).startswith("No verdict")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (words.amount(999_600), "1 M"),
        (words.size(1023), "1023 B"),
        (words.size(90_000_000), "85.8 MiB"),
        (words.milliseconds(0.0123), "12.3 ms"),
        (words.milliseconds(1.5), "1,500 ms"),
        (words.duration(4000), "67 min"),
        (words.times(258, 1), "258 times fewer"),
        (words.times(1, 2), "2 times more"),
        (words.times(2, 2), "the same"),
        (words.estimate(None), "not measured"),
    ],
)
def test_numbers_have_their_units(text, said):
    assert text == said


def test_the_methods_paragraph_says_only_what_is_recorded(full):
    from ckrm_tf.reporting.sections.paper import methods  # noqa: PLC0415 - beside its test

    text = methods(full)
    assert "12 epochs" in text
    assert f"{JUDGED:,}" in text
    less = replace(full, settings={k: v for k, v in SETTINGS.items() if k != "epochs"})
    assert "epochs" not in methods(less)
    assert methods(bare_record()) == "Nothing has been trained."
