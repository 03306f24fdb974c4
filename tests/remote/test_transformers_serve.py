"""A server that is not ours: `transformers serve` with the lab's frozen model, on loopback."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from importlib import resources

import pytest

from alignpro.config import FrozenSettings, Sampling
from alignpro.models.local import load_frozen
from alignpro.remote.frozen import load_endpoint
from alignpro.runtime.files import read_json

LACKING = [name for name in ("fastapi", "uvicorn", "openai") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"transformers serve needs {' and '.join(LACKING)}")
PROMPTS = ["quick, light a lantern", "the whole story, otters", "um, cut a bolt"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Its address. The lab's weights, told to sample: the server heeds `temperature` only where the model does."""
    folder = tmp_path_factory.mktemp("served") / "frozen"
    shutil.copytree(resources.files("alignpro.lab") / "weights" / "frozen", folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"do_sample": True, "top_k": 0}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "from transformers.cli.transformers import main; main()"
    words = [sys.executable, "-c", code, "serve", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    log = folder.parent / "log"
    with log.open("w") as file:
        server = subprocess.Popen(words, env=environment, stdout=file, stderr=file)
    try:
        while not _up(port):
            assert server.poll() is None, log.read_text()[-2000:]
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1#{folder}"
    finally:
        server.kill()
        server.wait()


def _up(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_the_likeliest_words_are_those_of_the_same_weights_here(served):
    likeliest = Sampling(max_new_tokens=32, top_k=1)
    here = load_frozen(FrozenSettings(model="lab", sampling=likeliest)).respond(PROMPTS, [1] * 3, 0)
    with load_endpoint(served, likeliest) as there:
        assert [row[0].text for row in there.respond(PROMPTS, [1] * 3, 0)] == [row[0].text for row in here]


def test_samples_of_a_prompt_differ_and_are_the_same_from_the_cache(served, tmp_path):
    with load_endpoint(served, Sampling(max_new_tokens=32, temperature=1.5), cache=tmp_path / "c") as model:
        rows = model.respond(PROMPTS, [6] * 3, 0)
        assert all(g.failure is None for row in rows for g in row)
        assert max(len({g.text for g in row}) for row in rows) > 1
        assert model.respond(PROMPTS, [6] * 3, 0) == rows
        assert model.account.report()[model.name]["unmetered"] == 0


def test_a_run_has_the_same_arms_and_the_same_contract(served, inside, tmp_path):
    small = (
        "--threads=1",
        "--train.steps=1",
        "--train.prompts_per_step=4",
        "--train.ppo.minibatch_size=4",
        "--rlhf.enabled=false",
        "--evaluate.arms=[no_prompter,reference_prompter,align_pro,gibbs_2]",
        "--evaluate.prompts=2",
        "--evaluate.responses=2",
        "--evaluate.every=0",
        "--evaluate.bootstrap=100",
        "--headroom.after_training=false",
    )
    found = {}
    for where, model in (("here", "lab"), ("there", served)):
        code, output = inside("run", "lab", *small, f"--frozen={model}", f"--out={tmp_path / where}")
        assert code == 0, output
        found[where] = read_json(tmp_path / where / "evaluation.json")
    here, there = found["here"], found["there"]
    assert here.keys() == there.keys() and list(here["arms"]) == list(there["arms"])
    for name, arm in there["arms"].items():
        assert arm.keys() == here["arms"][name].keys() and arm["failed"] == 0 and arm["mean_reward"] is not None
    assert there["cost"]["frozen_calls"] == here["cost"]["frozen_calls"]
    assert there["cost"]["endpoints"]
    assert (tmp_path / "there" / "report.html").stat().st_size > 10_000
