"""A fit from its start to its conclusion, begun anew or gone on with."""

from __future__ import annotations

import logging
import time

from pycellbox.ending import Ended
from pycellbox.errors import OptionError
from pycellbox.fitting.checkpoint import Checkpoint
from pycellbox.fitting.conclusion import conclusion
from pycellbox.fitting.job import Job
from pycellbox.fitting.loop import Training
from pycellbox.fitting.safely import concluded
from pycellbox.fitting.shooting import doubt_joined
from pycellbox.fitting.state import TrainingState
from pycellbox.problem import Problem
from pycellbox.result import Fit
from pycellbox.schedule import Stage
from pycellbox.treatment import check_horizon

log = logging.getLogger("pycellbox")


def carry_out(
    job: Job,
    training: Training,
    began: float,
    checkpoint: Checkpoint | None = None,
    ended: Ended | None = None,
) -> Fit:
    """Train and conclude.

    Parameters
    ----------
    job : Job
    training : Training
        Its own, at the beginning or where another one was left.
    began : float
        When the fit began, by `time.perf_counter`; for one that is gone on with, as if it had not
        been interrupted.
    checkpoint : Checkpoint, optional
    ended : Ended, optional
        How it has ended before, so that nothing is left to train.
    """
    recipe, problem, stages = job.recipe, job.problem, job.recipe.stages
    how = "begins"
    if training.begun is not None:
        how = f"goes on after {time.perf_counter() - began:.2f} s"

    def watch(state: TrainingState, urgent: bool) -> None:
        if checkpoint is not None:
            checkpoint.write(state, urgent, time.perf_counter() - began)
        if urgent:  # the callbacks have seen this one
            return
        try:
            for callback in job.callbacks:
                callback(state)
        except BaseException:
            if checkpoint is not None:
                checkpoint.write(state, True, time.perf_counter() - began)
            raise

    training.watch = watch if checkpoint or job.callbacks else None
    log.info(
        "fit %s: %d conditions (%d for validation), %d nodes, %d time(s); %s backend, %r, loss %s, "
        "%d stage(s), seed %d, %s",
        how, len(problem.conditions), training.validation.size, len(job.data["node"]),
        problem.times.size, job.backend.name, recipe.solver, training.loss.name, len(stages),
        recipe.seed, recipe.dtype,
    )  # fmt: skip

    def train_on() -> None:
        if ended is not None:
            training.ended = ended
        else:
            training.run(stages)

    def conclude() -> Fit:
        kept, history = training.kept, training.kept_history
        doubt_joined(kept.shooting, float(problem.times[-1]))
        fitted = conclusion(
            recipe,
            structure=problem.structure,
            parameters=training.clock.reached(
                problem.structure, training.parametrization.constrain(kept.raw)
            ),
            history=history.to_dataset(),
            data=job.data,
            starts=job.starts,
            backend=job.backend,
            provenance={
                **training.ended.to_dict(),
                "steps_retried": kept.retried,
                **({"shooting": dict(kept.shooting)} if kept.shooting else {}),
                **({"estimate": dict(job.estimate)} if job.estimate else {}),
                "seconds": round(time.perf_counter() - began, 3),
            },
        )
        if checkpoint is not None and ended is None and training.ended.is_final:
            state = training.final_state(len(stages))
            checkpoint.finish(state, time.perf_counter() - began, training.ended)
        log.info(
            "fit ends: %s after %d iterations, %s, %.2f s",
            training.ended.message, len(history), history.last(), time.perf_counter() - began,
        )  # fmt: skip
        return fitted

    return concluded(train_on, conclude)


def check_stage_horizons(stages: tuple[Stage, ...], problem: Problem) -> None:
    """Refuse stages that see none of the data.

    Raises
    ------
    OptionError
    """
    for position, stage in enumerate(stages):
        too_short = stage.horizon is not None and stage.horizon < problem.times[0]
        if too_short and not problem.steady:
            raise OptionError(
                f"stage {position} ends at {stage.horizon:g}, before the first measured time "
                f"{problem.times[0]:g}."
            )
        if stage.fade is not None and problem.steady:
            raise OptionError(f"stage {position} has a fade, which is for time courses.")
        if stage.segments and problem.steady:
            raise OptionError(f"stage {position} has segments, which are for time courses.")
        if stage.prefix is not None and (problem.steady or stage.prefix > problem.times.size):
            given = "steady states" if problem.steady else f"{problem.times.size} times"
            raise OptionError(
                f"stage {position} has prefix={stage.prefix}, but the data has {given}; it needs "
                "time courses with at least as many times."
            )
        if stage.horizon is not None and problem.steady and problem.treatment is not None:
            check_horizon(problem.treatment, stage.horizon)
