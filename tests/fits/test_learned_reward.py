"""Reward learning: the planted preference is found, memory and interruption change nothing, the folder is plain."""

import json
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from tiny import make_model, save_model
from tiny_classifiers import save_classifier
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaForSequenceClassification

from alignpro import config
from alignpro.config import RewardSpec
from alignpro.data.preferences import Preference
from alignpro.errors import DataError, Interrupted, LossNotFinite, ModelNotUsable, SettingsError, UsageError
from alignpro.fits import learn_reward
from alignpro.fits.reward import comparisons, milestones
from alignpro.models.fingerprint import fingerprint
from alignpro.rewards.classifier import token_limit
from alignpro.rewards.layout import Row, pair, within
from alignpro.rewards.model import load_reward_model
from alignpro.train import bradley_terry, supervised
from alignpro.train.bradley_terry import Comparisons
from alignpro.types import Prompt, Turn


class Bag(nn.Module):
    """A linear reward: the sum of its tokens' weights."""

    device = torch.device("cpu")

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, input_ids, attention_mask):
        score = (self.weights[input_ids] * attention_mask).sum(1, keepdim=True)
        return type("Output", (), {"logits": score})


def test_a_conversation_is_learned_from_as_it_is_scored(tmp_path):
    save_model(tmp_path, "llama", seed=1)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    x = Prompt("at night?", "Be brief.", (Turn("user", "owls?"), Turn("assistant", "They fly.")))
    pairs = [Preference(x, "yes", "no", None), Preference(Prompt("at night?"), "yes", "no", None)]
    read = partial(within, 10_000, tokenizer)
    groups, long, prompts = comparisons(read, pairs, 0.0)
    assert [group.rows for group in groups] == [
        [pair(tokenizer, one.prompt, answer) for answer in ("yes", "no")] for one in pairs
    ]
    assert len(groups[0].rows[0]) > len(groups[1].rows[0])
    assert (long, prompts) == (0, 1)
    short = partial(within, len(groups[1].rows[0]), tokenizer)
    assert comparisons(short, pairs, 0.0)[1:] == (1, 1)
    cut = comparisons(partial(short, overflow="cut"), [replace(pairs[1], chosen="yes, and more of it")], 0.0)
    assert (len(cut[0][0].rows), cut[1]) == (2, 0)


def test_a_planted_linear_preference_is_learned_to_the_bayes_rate():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 0.8, 20)
    true[0] = 0.0
    pairs, best = [], []
    for _ in range(4000):
        rows = rng.integers(1, 20, (2, 6))
        ahead = true[rows].sum(1) @ [1, -1]
        first = rng.random() < 1 / (1 + np.exp(-ahead))
        best.append(max(1 / (1 + np.exp(-ahead)), 1 / (1 + np.exp(ahead))))
        pairs.append(Comparisons([Row(row) for row in rows.tolist()], [(0, 1) if first else (1, 0)]))
    train, test = pairs[:2500], pairs[2500:]
    model = Bag(torch.zeros(20))
    batches = (train[start : start + 125] for _ in range(12) for start in range(0, 2500, 125))
    bradley_terry.fit(model, batches, 240, 0.05, pad_id=0, centre=0.0)
    bayes = float(np.mean(best[2500:]))
    assert bradley_terry.accuracy(model, test, 0) > bayes - 0.03  # sampling alone moves it by 0.01
    slope = np.polyfit(true[1:] - true[1:].mean(), model.weights.detach().numpy()[1:], 1)[0]
    assert slope == pytest.approx(1.0, abs=0.2)  # the scale too, since the labels' noise is that of (1)


def test_margin_and_smoothing_move_the_least_loss_to_where_they_say():
    ahead = torch.linspace(-3, 6, 901)
    zero = torch.zeros(1)
    losses = [float(bradley_terry.loss(a[None], zero, 0.0, 0.1)) for a in ahead]
    assert float(ahead[int(np.argmin(losses))]) == pytest.approx(np.log(9), abs=0.02)  # odds of 0.9 to 0.1
    assert bradley_terry.loss(zero + 2.5, zero, 2.5) == pytest.approx(np.log(2))


def test_pieces_of_few_tokens_give_the_gradient_of_the_whole():
    rng = np.random.default_rng(0)
    batch = [
        Comparisons(
            [Row(rng.integers(2, 90, n).tolist()) for n in (5, int(rng.integers(3, 40)), 9)],
            [(0, 1), (2, 0)],
            [0.5, 0.0],
        )
        for _ in range(6)
    ]
    config_ = make_model("llama", vocabulary=100).config
    config_.num_labels = 1
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(config_)
    found = []
    for tokens in (None, 200, 1):
        model.zero_grad()
        pieces = list(bradley_terry.pieces(model, batch, 0, centre=0.1, smoothing=0.1, tokens=tokens))
        for loss, _ in pieces:
            loss.backward()
        found.append((len(pieces), sum(told for _, told in pieces), model.score.weight.grad.clone()))
    assert 1 == found[0][0] < found[1][0] < found[2][0] == 6
    for _, told, grad in found[1:]:
        assert told == pytest.approx(found[0][1], rel=1e-5)
        torch.testing.assert_close(grad, found[0][2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["bert", "roberta", "llama"])
def test_what_is_learned_from_is_what_is_scored(kind, tmp_path):
    save_classifier(tmp_path, kind, context=40)  # some answers do not fit
    reward = load_reward_model(RewardSpec(model=str(tmp_path), overflow="cut"))
    pairs = [Preference(Prompt(f"owls {i}"), "rain " * (i + 1), "a quiet town", None) for i in range(8)]
    read = partial(within, token_limit(reward.model), reward.tokenizer, overflow="cut")
    groups, long, _ = comparisons(read, pairs, 0.0)
    assert (len(groups), long) == (8, 0)
    scores = reward.score([p.prompt for p in pairs] * 2, [p.chosen for p in pairs] + [p.rejected for p in pairs])
    told = sum(loss for _, loss in bradley_terry.pieces(reward.model, groups, 0))
    assert told == pytest.approx(np.log1p(np.exp(-(scores.values[:8] - scores.values[8:]))).mean(), rel=1e-5)


def test_batches_hold_every_item_once_an_epoch():
    sizes = [1, 6, 3, 1, 1, 10, 2, 2] * 5
    planned = supervised.plan(sizes, 8, 3, seed=0)
    for epoch in planned:
        assert sorted(i for batch in epoch for i in batch) == list(range(40))
        assert all(sum(sizes[i] for i in batch) >= 8 for batch in epoch[:-1])
    assert planned[0] != planned[1]
    seen = np.cumsum([sum(sizes[i] for i in batch) for epoch in planned for batch in epoch]).tolist()
    due = milestones(seen, [len(epoch) for epoch in planned], sum(sizes), [0.25, 1.0])
    assert {seen[step - 1] for step in due} >= {sum(sizes), 3 * sum(sizes)}
    assert min(seen[step - 1] for step in due) == min(n for n in seen if n >= 0.25 * sum(sizes))


@pytest.fixture(scope="module")
def corner(tmp_path_factory):
    """A tiny base, and preferences in which the polite answer wins."""
    folder = tmp_path_factory.mktemp("reward")
    save_model(folder / "base", "llama", seed=3)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(60):
        filler = "".join(rng.choice(list("abcdefgh"), 4))
        rows.append({"prompt": f"question {i}", "chosen": f"owls {filler}", "rejected": f"rain {filler}"})
    rows += [rows[0], {"prompt": "long", "chosen": "x" * 3000, "rejected": "y"}]
    (folder / "prefs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def settings(corner, *more):
    return config.load(
        "local",
        [
            f"reward_learning.base={corner / 'base'}",
            f"data.prompts={corner / 'prefs.jsonl'}",
            "reward_learning.epochs=3",
            "reward_learning.batch_size=8",
            "reward_learning.learning_rate=3e-3",
            "reward_learning.save_every=2",
            "reward_learning.bootstrap=100",
            "threads=1",
            *more,
        ],
    )


@pytest.fixture(scope="module")
def learned(corner):
    return corner / "whole", learn_reward(settings(corner), corner / "whole")


def test_the_folder_is_a_plain_classifier_that_agrees(corner, learned):
    out, found = learned
    assert found["accuracy"]["value"] > 0.9
    assert found["dropped"] == {"repeated": 1, "longer than the model's context": 1}
    assert found["pairs"]["train"] + found["pairs"]["test"] == 60
    assert found["longer_wins"]["value"] == 0.5
    assert found["prompts"]["train"] + found["prompts"]["test"] == 60
    curve = [row["pairs"] for row in found["learning_curve"]]
    assert curve == sorted(set(curve))
    assert curve[-1] == 3 * found["pairs"]["train"]
    model = AutoModelForSequenceClassification.from_pretrained(out / "reward")
    tokenizer = AutoTokenizer.from_pretrained(out / "reward")
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(corner / "base").chat_template
    chats = [
        [{"role": "user", "content": "question 7"}, {"role": "assistant", "content": text}]
        for text in ("owls abc", "rain, and more of it")
    ]
    batch = tokenizer.apply_chat_template(chats, padding=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        plain = model(**batch).logits[:, 0].double().numpy()
    spec = RewardSpec(model=str(out / "reward"), batch_size=8)
    ours = load_reward_model(spec).score(["question 7"] * 2, ["owls abc", "rain, and more of it"])
    np.testing.assert_allclose(ours.values, plain, atol=1e-5)
    assert "Learning curve" in (out / "report.html").read_text()


def test_an_interrupted_one_goes_on_to_the_same_reward(corner, learned, monkeypatch):
    out, real, calls = corner / "stopped", bradley_terry.pieces, 0

    def stopping(*given, **named):
        nonlocal calls
        calls += 1
        if calls == 7:
            signal.raise_signal(signal.SIGINT)
        return real(*given, **named)

    monkeypatch.setattr(bradley_terry, "pieces", stopping)
    with pytest.raises(Interrupted):
        learn_reward(settings(corner), out)
    assert not (out / "reward").exists()
    learn_reward(None, out, resume=True)
    for name in ("reward.json", "metrics.jsonl", "curve.jsonl"):
        assert (out / name).read_text() == (learned[0] / name).read_text()
    prints = [
        fingerprint(AutoModelForSequenceClassification.from_pretrained(folder / "reward"))
        for folder in (out, learned[0])
    ]
    assert prints[0] == prints[1]
    with pytest.raises(UsageError, match=r"other settings: reward_learning\.epochs was 3, now 4"):
        learn_reward(settings(corner, "reward_learning.epochs=4"), out, resume=True)


def test_a_loss_that_is_no_number_stops_it(corner, tmp_path):
    with pytest.raises(LossNotFinite, match=r"step \d+ of \d+: .* learning rate of .* lower learning_rate"):
        learn_reward(settings(corner, "reward_learning.learning_rate=1e30", "reward_learning.warmup=0"), tmp_path / "a")


def test_a_new_head_scores_everything_alike_and_other_bases_are_told_apart(corner, tmp_path):
    from alignpro.fits.classifier import load_base

    model = load_base(str(corner / "base"), 0, "cpu", "float32").model
    assert not model.score.weight.any()
    model.score.weight.data += 1
    model.save_pretrained(tmp_path / "again")
    AutoTokenizer.from_pretrained(corner / "base").save_pretrained(tmp_path / "again")
    again = load_base(str(tmp_path / "again"), 0, "cpu", "float32").model
    torch.testing.assert_close(again.score.weight, model.score.weight)  # a classifier keeps its head
    model.config.num_labels = 3
    model.score = nn.Linear(32, 3, bias=False)
    model.save_pretrained(tmp_path / "three")
    AutoTokenizer.from_pretrained(corner / "base").save_pretrained(tmp_path / "three")
    with pytest.raises(ModelNotUsable, match=r"reward_learning\.base .*3 labels"):
        load_base(str(tmp_path / "three"), 0, "cpu", "float32")


def test_what_is_wrong_is_told_before_anything_is_written(corner, tmp_path):
    with pytest.raises(SettingsError, match=r"gives no scores"):
        learn_reward(settings(corner, "reward_learning.margin=1"), tmp_path / "a")
    with pytest.raises(SettingsError, match=r"give --base MODEL"):
        learn_reward(settings(corner, "reward_learning.base="), tmp_path / "a")
    (tmp_path / "x.jsonl").write_text('{"question": "a", "better": "b"}\n')
    with pytest.raises(DataError, match=r"found question, better; wanted"):
        learn_reward(settings(corner, f"data.prompts={tmp_path / 'x.jsonl'}"), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_by_the_command_line(corner, inside, tmp_path):
    words = ("--base", str(corner / "base"), "--preferences", str(corner / "prefs.jsonl"), "--threads=1")
    small = ("--reward_learning.bootstrap=100", "--reward_learning.batch_size=16")
    code, output = inside("reward", *words, *small, f"--out={tmp_path / 'r'}")
    assert code == 0, output
    assert "held-out accuracy" in output
    assert "1 rows or pairs left out: repeated" in output
    assert inside("report", str(tmp_path / "r"))[0] == 0
    code, output = inside("reward", *words, "--reward_learning.epoch=2", f"--out={tmp_path / 's'}")
    assert code == 2
    assert "did you mean reward_learning.epochs?" in output
