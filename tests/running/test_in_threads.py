"""Two runs in two threads of one process, while a third thread loads a model."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from cli import settings

import alignpro
from alignpro.config import PrompterSettings, Sampling
from alignpro.errors import DataError
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import load_prompter


def test_runs_in_two_threads_take_turns_and_give_what_each_gives_alone(workshop, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(workshop)

    def run(name, seed):
        one = settings(workshop, "train.steps=1", "evaluate.every=0", f"seed={seed}")
        alignpro.run(one, tmp_path / name, only_train=True)
        return (tmp_path / name / "prompter" / "model.safetensors").read_bytes()

    def weights():
        own = PrompterSettings(model=str(workshop / "prompter"), sampling=Sampling(max_new_tokens=8))
        return fingerprint(load_prompter(own).lm.model)

    with ThreadPoolExecutor(3) as pool:
        begun = [pool.submit(run, f"beside-{seed}", seed) for seed in (1, 2)]
        loaded = [pool.submit(weights) for _ in range(4)]
        trained = [one.result() for one in begun]
        assert {one.result() for one in loaded} == {weights()}
    assert "another job of this process is under way" in capfd.readouterr().err
    assert [run("alone-1", 1), run("alone-2", 2)] == trained
    assert trained[0] != trained[1]


def test_a_job_that_is_refused_leaves_the_turn_to_the_next(workshop, tmp_path):
    def refused():
        with pytest.raises(DataError, match=r"gone\.txt"):
            alignpro.run(settings(workshop, "data.prompts=gone.txt"), tmp_path / "run")

    for _ in range(2):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(refused).result(timeout=20)
