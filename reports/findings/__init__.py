"""What the data say of the study's conclusions, each in a sentence with a verdict and its statistic."""

from __future__ import annotations

from dataclasses import dataclass

from bsr import paper
from reports.findings import choices, error, pace, question
from reports.findings.basis import Finding, Verdict
from reports.frame import Frame
from reports.missing import command

__all__ = ["Finding", "Findings", "Verdict", "findings"]


@dataclass(frozen=True, slots=True)
class Findings:
    """The answer to the title's question, the conclusions about learning, and what degenerate tasks show."""

    answer: Finding
    learning: tuple[Finding, ...]
    degenerate: tuple[Finding, ...]

    @property
    def all(self) -> tuple[Finding, ...]:
        """In the order of the page."""
        return (self.answer, *self.learning, *self.degenerate)


def findings(frame: Frame) -> Findings:
    """Every conclusion of the study, put to the data at hand."""
    learning = (
        *_about_error(frame),
        pace.less_time(frame),
        *_about_convergence(frame),
        choices.std_fluctuates(frame, "batch-size")
        or _missing(frame, "std-fluctuates", "batch-size", "tuned rate"),
        choices.std_fluctuates(frame, "std-at-0.01")
        or _missing(frame, "std-fluctuates", "std-at-0.01", "rate 0.01"),
        error.asymmetry(frame),
        choices.adam(frame) or _missing(frame, "adam", "optimiser"),
        choices.mse_loss(frame) or _missing(frame, "mse-loss", "loss"),
        choices.overfitting(frame) or _missing(frame, "overfitting", "longer"),
    )
    return Findings(question.question(frame), learning, tuple(choices.collapse(frame)))


def _about_error(frame: Frame) -> tuple[Finding, ...]:
    if not frame.learnable():
        return tuple(_nothing(frame, name) for name in ("higher-error", "best-batch-size", "exponential"))
    return error.higher_error(frame), error.best_batch_size(frame), error.exponential(frame)


def _about_convergence(frame: Frame) -> tuple[Finding, ...]:
    if not frame.learnable():
        return (_nothing(frame, "slower-convergence"),)
    return pace.slower_convergence(frame, "epochs"), pace.slower_convergence(frame, "steps")


def _nothing(frame: Frame, name: str) -> Finding:
    """A conclusion about learning where no task that was measured has anything to learn."""
    line = f"Measure it: {command(frame, '--bsr-experiments batch-size --bsr-tasks mean,std,var')}"
    sentence = "Not measured here: no final error of a task that has something to learn."
    return Finding(name, paper.CLAIMS[name], "too little data", sentence, (line,))


def _missing(frame: Frame, name: str, experiment: str, at: str = "") -> Finding:
    """A conclusion whose experiment was not measured, and the command that would measure it."""
    claim = paper.CLAIMS[name] + (f" At the {at}." if at else "")
    options = f"--bsr-experiments {experiment}" + (" --bsr-tasks std" if experiment == "batch-size" else "")
    line = f"Measure it: {command(frame, options)}"
    sentence = f"Not measured here: the experiment {experiment}."
    return Finding(f"{name}-{experiment}", claim, "too little data", sentence, (line,))
