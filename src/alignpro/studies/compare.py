"""Methods side by side: the objective each reaches on held-out prompts, against the frozen model's answers it spent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from alignpro import config
from alignpro.config import BudgetSettings, Settings
from alignpro.errors import RunFailure, SettingsError, UsageError
from alignpro.evaluate.arms import AlignPro, Arm, Gibbs, NoPrompter, ReferencePrompter
from alignpro.maths import stats
from alignpro.results import Estimate, Evaluation, Method, Methods, OverSeeds, Spent, Step, read, read_rows, write
from alignpro.rewards.composite import check_scales
from alignpro.runtime import files, run_folder
from alignpro.runtime.interrupt import StopRequest
from alignpro.runtime.lock import Lock
from alignpro.runtime.progress import Progress
from alignpro.runtime.run_folder import RunFolder
from alignpro.studies.apart import run_apart
from alignpro.studies.shared_budget import left, spent

UNTRAINED = "untrained"
"""The run of each seed that trains nothing: no prompter, the reference, gibbs_N."""


def compare(settings: Settings, out: Path, jobs: int = 1) -> Methods:
    """Train every method of `settings.compare` with every seed, each a run of its own in `out`, and tabulate.

    Runs that are finished are not done again and stopped ones go on, so the same command resumes. Writes
    methods.json: figures are means over seeds, intervals Student's t over them; `cost` is of all runs, and so is the
    budget. Raises SettingsError before anything is written, UsageError where `out` holds something else or a budget is
    to be shared by several jobs, BudgetSpent, RunFailure naming the run that broke, Interrupted.
    """
    if missing := settings.missing():
        raise SettingsError(f"{', '.join(missing)} not set; every run of the comparison needs them")
    check_scales(settings.reward)  # every run would measure statistics of its own, and maximise another objective
    if jobs > 1 and settings.budget != BudgetSettings():
        raise UsageError(
            f"--budget is for all runs together, and {jobs} at a time could each spend what is left; give --jobs 1"
        )
    base = out / "compare.yaml"
    begun = config.reread(base) if base.is_file() else None
    settings = run_folder.as_begun(begun, settings) if begun else settings
    runs = dict(_runs(settings, out))
    if begun and _fixed(begun) != _fixed(settings):
        raise UsageError(f"--out {out} holds a comparison with other settings; give another folder")
    if begun is None and run_folder.contents(out):
        raise UsageError(f"--out {out} is not empty and holds no comparison; give a new folder")
    out.mkdir(parents=True, exist_ok=True)
    with Lock(out):
        files.write_text(base, config.sealed(config.dump(settings)))
        waiting = [path for path in runs if not RunFolder(path).evaluation.is_file()]
        progress = Progress()

        def work(path: Path) -> None:
            rest = left(settings.budget, spent(other for other in runs if other != path))
            one = runs[path].model_copy(update={"budget": rest})
            if RunFolder(path).config.is_file():
                run_folder.reopen(path, one)  # it goes on with the budget of now
            run_apart(path, one, stop)

        with (
            StopRequest("stopping the runs; each saves first") as stop,
            progress.task("comparing methods", len(runs)) as advance,
            ThreadPoolExecutor(jobs) as pool,
        ):
            advance(len(runs) - len(waiting), "")
            under_way = [pool.submit(work, path) for path in waiting]
            try:
                for number, finished in enumerate(as_completed(under_way), 1):
                    finished.result()
                    advance(len(runs) - len(waiting) + number, "")
            except BaseException:
                stop.asked = True  # the runs under way save and stop, those not begun do not begin
                raise
        methods = tabulate(settings, out)
        if cost := spent(runs):
            methods.cost = Spent(endpoints=dict(cost))
        write(out / "methods.json", methods)
        return methods


def tabulate(settings: Settings, out: Path) -> Methods:
    """The table of finished runs, what methods.json holds. Raises RunFailure where one has no evaluation."""
    lam, seeds = settings.train.kl.coef, range(settings.compare.seeds)
    arms: dict[str, tuple[str, Arm]] = {
        **{arm.name: (UNTRAINED, arm) for arm in _untrained(settings)},
        **{method: (method, AlignPro()) for method in settings.compare.methods},
    }
    rows, prompts = [], 0
    for name, (run, arm) in arms.items():
        folders = [RunFolder(out / f"{run}-{seed}") for seed in seeds]
        evaluations = [_evaluation(folder) for folder in folders]
        prompts = int(evaluations[0].prompts)
        results = [evaluation.arms[arm.name] for evaluation in evaluations]
        reward = [one.reward.value for one in results]
        kl = [one.kl.value if one.kl else 0.0 for one in results]
        bonus = [one.prompt_bonus.value if one.prompt_bonus else 0.0 for one in results]
        last = [read_rows(Step, folder.metrics)[-1] for folder in folders] if run != UNTRAINED else []
        rows.append(
            Method(
                method=name,
                training_calls=_mean([row.frozen_calls for row in last]) if last else 0,
                calls_per_prompt=arm.extra_calls(settings.evaluate),
                reward=_over_seeds(reward),
                kl=_over_seeds(kl),
                objective=_over_seeds([r + b - lam * k for r, b, k in zip(reward, bonus, kl, strict=True)]),
                seconds=_mean([row.seconds for row in last]) if last else None,
            )
        )
    return Methods(kl_coef=lam, seeds=len(seeds), prompts=prompts, methods=tuple(rows))


def _evaluation(folder: RunFolder) -> Evaluation:
    evaluation = read(Evaluation, folder.evaluation)
    if evaluation is None:
        raise RunFailure(f"{folder.evaluation} is not there; give the same command again, which finishes that run")
    return evaluation


def _runs(settings: Settings, out: Path) -> Iterator[tuple[Path, Settings]]:
    """Folder and settings of every run, seed by seed, so that a stopped comparison has whole seeds."""
    shared = {"second_reward": None, "judge": None}
    for seed in range(settings.compare.seeds):
        trained = [
            (method, {"method": method, **own}, [AlignPro().name]) for method, own in settings.compare.methods.items()
        ]
        plain = [arm.name for arm in _untrained(settings)]
        for name, train, arms in [(UNTRAINED, {"steps": 0}, plain), *trained]:
            tree = settings.model_dump(mode="json")
            tree |= {"seed": settings.seed + seed, "threads": 1}
            tree["train"] = config.laid_over(tree["train"], train)
            tree["rlhf"]["enabled"] = False
            tree["evaluate"] |= {**shared, "arms": arms}
            if not (tree["train"]["take"] == "best" or tree["train"]["patience"]):
                tree["evaluate"]["every"] = 0
            if name == UNTRAINED:
                tree["train"] |= {"take": "last", "patience": None}
            tree["headroom"]["after_training"] = False
            one = config.build(tree, f"compare.methods.{name}")
            if name != UNTRAINED and not one.train.steps:
                raise SettingsError(
                    f"compare.methods.{name}: train.steps is 0, so that it would train nothing; set it to 1 or more"
                )
            yield out / f"{name}-{seed}", one


def _untrained(settings: Settings) -> list[Arm]:
    return [NoPrompter(), ReferencePrompter(), *(Gibbs(n) for n in settings.compare.gibbs)]


def _fixed(settings: Settings) -> dict[str, Any]:
    """Settings on which figures depend."""
    tree = config.flat(settings.model_dump(mode="json"))
    return {key: value for key, value in tree.items() if not run_folder.MAY_CHANGE.match(key)}


def _over_seeds(values: list[float]) -> OverSeeds:
    return OverSeeds(mean=Estimate(_mean(values), *stats.t_interval(values)), values=tuple(values))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
