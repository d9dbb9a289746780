"""How a comparison was made, and what it could not judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ComparisonSettings:
    """`settings` of a diagnosis.

    Args:
        accelerator: of both models, as comparisons spell it.
        threads: CPU threads of each interpreter.
        max_samples: the most samples that were asked for; None: all.
        synthetic: the samples are random inputs.
        isolated_samples: how many samples isolated errors were measured on; 0: there are none.
        isolated_problem: why there are no isolated errors; empty: there are.
        calibration_problem: why calibrated ranges cannot be judged; empty: they were.
        fixes_tried: fixes were tried, and layers on other kernels.
        rules_left_out: names of rules that did not decide.
        kernels: the runs on the processors of a plan, as in the document; None: there is no plan.
        kernels_problem: why some of these runs are missing; empty: none is.
    """

    accelerator: str = "xnnpack"
    threads: int = 1
    max_samples: int | None = None
    synthetic: bool = False
    isolated_samples: int = 0
    isolated_problem: str = ""
    calibration_problem: str = ""
    fixes_tried: bool = True
    rules_left_out: tuple[str, ...] = ()
    kernels: tuple[Mapping[str, Any], ...] | None = None
    kernels_problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The settings, without what does not apply."""
        found: dict[str, Any] = {
            "accelerator": self.accelerator,
            "threads": self.threads,
            "max_samples": self.max_samples,
            "synthetic_samples": self.synthetic,
            "local_samples": self.isolated_samples,
            "local_problem": self.isolated_problem,
            "calibration_problem": self.calibration_problem,
            "mended_for_a_try": self.fixes_tried,
        }
        if self.rules_left_out:
            found["rules_left_out"] = list(self.rules_left_out)
        if self.kernels is not None:
            found["kernels"] = list(self.kernels)
        if self.kernels_problem is not None:
            found["kernels_problem"] = self.kernels_problem
        return found
