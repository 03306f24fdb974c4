"""Reward models of every class against transformers' own forward, each pair alone and unpadded."""

import json

import numpy as np
import pytest
import torch
from tiny import make_model, make_tokenizer
from tiny_classifiers import DECODERS, ENCODERS, classifier_tokenizer, save_classifier
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from alignpro import config
from alignpro.config import RewardSpec
from alignpro.errors import ModelNotUsable, SettingsError
from alignpro.rewards import load_reward
from alignpro.rewards.classifier import TOO_LONG
from alignpro.rewards.layout import pair

PROMPTS = ["tell me about owls", "rain", "a quiet old town in the rain, and the owls there", "owls"] * 3
RESPONSES = [f"{'owls ' * (i % 5)}answer {i}" for i in range(len(PROMPTS))]
KINDS = sorted({**DECODERS, **ENCODERS})


def load(folder, dtype="float32", **more):
    return load_reward(RewardSpec(model=str(folder), **more), "cpu", dtype)


@torch.inference_mode()
def alone(folder, kind):
    """transformers by itself: its tokenizer's chat template or pair of texts, one pair at a time, no padding."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for x, y in zip(PROMPTS, RESPONSES, strict=True):
        if kind in DECODERS:
            turns = [{"role": "user", "content": x}, {"role": "assistant", "content": y}]
            text = tokenizer.apply_chat_template(turns, tokenize=False)
            given = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        else:
            given = tokenizer(x, y, return_tensors="pt")
        found.append(model(**given).logits[0].numpy())
    return np.array(found)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_transformers_on_each_pair_alone(kind, tmp_path):
    save_classifier(tmp_path, kind)
    expected = alone(tmp_path, kind)[:, 0]
    assert expected.std() > 0.01
    for batch_size in (1, 5, 64):
        result = load(tmp_path, batch_size=batch_size).score(PROMPTS, RESPONSES)
        np.testing.assert_allclose(result.values, expected, rtol=1e-4, atol=1e-5)
        assert result.reasons == (None,) * len(PROMPTS)


@pytest.mark.parametrize("kind", KINDS)
def test_order_and_company_change_nothing(kind, tmp_path):
    reward = load(save_classifier(tmp_path, kind), batch_size=4)
    whole = reward.score(PROMPTS, RESPONSES).values
    order = np.random.default_rng(0).permutation(len(PROMPTS))
    mixed = reward.score([PROMPTS[i] for i in order], [RESPONSES[i] for i in order]).values
    np.testing.assert_allclose(mixed, whole[order], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(reward.score(PROMPTS[:2], RESPONSES[:2]).values, whole[:2], rtol=1e-4, atol=1e-5)
    assert len(set(np.round(whole, 6))) == len(whole)


@pytest.mark.parametrize("kind", sorted(DECODERS))
def test_without_a_pad_token_the_last_token_is_found_all_the_same(kind, tmp_path):
    tokenizer = classifier_tokenizer(kind)
    tokenizer.pad_token = None
    save_classifier(tmp_path, kind, pad_token_id=None, tokenizer=tokenizer)
    reward = load(tmp_path, batch_size=5)
    np.testing.assert_allclose(
        reward.score(PROMPTS, RESPONSES).values, alone(tmp_path, kind)[:, 0], rtol=1e-4, atol=1e-5
    )
    assert reward.model.config.pad_token_id is None


@pytest.mark.parametrize("kind", sorted(DECODERS))
def test_a_tokenizer_that_pads_on_the_left_and_ends_where_it_pads(kind, tmp_path):
    tokenizer = classifier_tokenizer(kind)
    tokenizer.padding_side, tokenizer.pad_token = "left", "<|end|>"
    save_classifier(tmp_path, kind, pad_token_id=1, tokenizer=tokenizer)
    values = load(tmp_path, batch_size=5).score(PROMPTS, RESPONSES).values
    np.testing.assert_allclose(values, alone(tmp_path, kind)[:, 0], rtol=1e-4, atol=1e-5)


def test_a_text_begins_once_and_ends_as_the_template_ends():
    tokenizer = classifier_tokenizer("llama")
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    by_template = pair(tokenizer, "owls", "rain").ids
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    assert pair(tokenizer, "owls", "rain").ids == by_template
    assert by_template.count(start) == 1
    assert by_template[0] == start
    assert by_template[-1] == end
    assert tokenizer.convert_tokens_to_ids("<|assistant|>") != by_template[-1]  # no turn is opened for a next answer
    tokenizer.chat_template = None
    words = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in ("owls", "rain")]
    assert pair(tokenizer, "owls", "rain").ids == [start, *words[0], *words[1]]
    framed = pair(tokenizer, "owls", "rain", "<|system|>Q: {prompt} A: {response}").ids
    assert framed.count(start) == 1
    assert framed[0] == start


def test_a_template_of_the_settings_is_filled_once():
    tokenizer = make_tokenizer()
    row = pair(tokenizer, "the {response} of", "{prompt}", "Q: {prompt} A: {response}")
    assert tokenizer.decode(row.ids) == "Q: the {response} of A: {prompt}"


@pytest.mark.parametrize("kind", ["llama", "roberta"])
def test_what_is_too_long_is_masked_or_cut_and_what_just_fits_is_scored(kind, tmp_path):
    save_classifier(tmp_path, kind, context=40)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    room = 39 if kind == "roberta" else 40  # RoBERTa keeps a position for padding, whose id is 0 here
    answers = ["z" * n for n in range(1, 60)]
    lengths = np.array([len(pair(tokenizer, "owls", y)) for y in answers])
    assert room in lengths
    masked = load(tmp_path).score(["owls"] * len(answers), answers)
    np.testing.assert_array_equal(np.isnan(masked.values), lengths > room)
    assert {r for r, n in zip(masked.reasons, lengths, strict=True) if n > room} == {TOO_LONG}
    cut = load(tmp_path, overflow="cut").score(["owls"] * len(answers), answers)
    np.testing.assert_allclose(cut.values[lengths <= room], masked.values[lengths <= room], rtol=1e-5)
    assert np.isfinite(cut.values).all()
    np.testing.assert_allclose(cut.values[lengths > room], masked.values[lengths == room][0], rtol=1e-4)
    hopeless = load(tmp_path, overflow="cut").score(["owls " * 50], ["a"])
    assert np.isnan(hopeless.values).all()  # nothing of the answer would be left


@pytest.mark.parametrize("kind", ["gemma", "deberta"])
def test_in_bfloat16_the_score_itself_is_float32(kind, tmp_path):
    save_classifier(tmp_path, kind)
    reward = load(tmp_path, dtype="bfloat16")
    assert next(reward.model.base_model.parameters()).dtype == torch.bfloat16
    values = reward.score(PROMPTS, RESPONSES).values
    assert not np.array_equal(values, torch.tensor(values).bfloat16().double().numpy())
    np.testing.assert_allclose(values, alone(tmp_path, kind)[:, 0], atol=0.3 * values.std() + 0.1)


LABELS = ("helpful", "honest", "brief")


def test_heads_of_several_labels(tmp_path):
    save_classifier(tmp_path, "llama", LABELS)
    logits = alone(tmp_path, "llama").astype(float)

    def scores(head):
        return load(tmp_path, head=head).score(PROMPTS, RESPONSES).values

    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(scores("honest"), logits[:, 1], **close)
    np.testing.assert_allclose(scores(2), logits[:, 2], **close)
    np.testing.assert_allclose(scores("mean"), logits.mean(1), **close)
    np.testing.assert_allclose(scores([1, 0, -0.5]), logits[:, 0] - 0.5 * logits[:, 2], **close)
    np.testing.assert_allclose(scores({"brief": -0.5, "helpful": 1}), scores([1, 0, -0.5]))
    chance = torch.tensor(logits).softmax(1)[:, 1]
    np.testing.assert_allclose(scores("log_odds:honest"), torch.logit(chance), **close)


def test_several_labels_and_no_choice_lists_them_and_says_how_to_choose(tmp_path):
    save_classifier(tmp_path, "bert", LABELS)
    with pytest.raises(SettingsError, match=r"3 labels \(0: helpful, 1: honest, 2: brief\).*reward\.head.*log_odds"):
        load(tmp_path)
    with pytest.raises(SettingsError, match=r"'kind' is no label of the model; it has 0: helpful"):
        load(tmp_path, head="kind")
    with pytest.raises(SettingsError, match="2 weights for 3 labels"):
        load(tmp_path, head=[1, 2])
    with pytest.raises(SettingsError, match="7 is no label"):
        load(tmp_path, head=7)
    save_classifier(tmp_path, "bert")
    with pytest.raises(SettingsError, match="one label, whose score is its log-odds"):
        load(tmp_path, head="log_odds:0")


def test_a_language_model_has_no_scores_to_give(tmp_path):
    make_model("llama").save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelNotUsable, match=r"lack score\.weight.*random"):
        load(tmp_path)


def test_code_that_comes_with_a_model_runs_only_when_told(tmp_path):
    save_classifier(tmp_path, "llama")
    described = json.loads((tmp_path / "config.json").read_text())
    described["auto_map"] = {"AutoModelForSequenceClassification": "modeling.Model"}
    (tmp_path / "config.json").write_text(json.dumps(described))
    (tmp_path / "modeling.py").write_text(
        "from pathlib import Path\nfrom transformers import LlamaForSequenceClassification\n"
        "Path(__file__).with_name('ran').touch()\n"
        "class Model(LlamaForSequenceClassification):\n"
        "    def forward(self, *args, **more):\n"
        "        out = super().forward(*args, **more)\n"
        "        out.logits = out.logits * 0 + 7\n"
        "        return out\n"
    )
    with pytest.raises(ModelNotUsable, match=r"Python code of its own.*reward\.trust_remote_code=true"):
        load(tmp_path)
    values = load(tmp_path, trust_remote_code=True).score(PROMPTS, RESPONSES).values
    np.testing.assert_array_equal(values, 7)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{{ raise_exception('only users speak') }}", "refuses a user's and an assistant's turn .*only users speak"),
        (
            "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}",
            "leaves out the assistant turn",
        ),
    ],
)
def test_a_chat_template_that_lacks_a_role(template, told, tmp_path):
    tokenizer = classifier_tokenizer("qwen2")
    tokenizer.chat_template = template
    save_classifier(tmp_path, "qwen2", tokenizer=tokenizer)
    with pytest.raises(ModelNotUsable, match=told + r".*reward\.template"):
        load(tmp_path)
    values = load(tmp_path, template="{prompt} -> {response}").score(PROMPTS, RESPONSES).values
    assert len(set(values)) == len(values)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("reward.model=x reward.template=hello", "lacks {prompt}, {response}"),
        ("reward.model=x reward.kind=pairwise", "a pairwise model needs template"),
        ("reward.model=x reward.against=file", "set kind=pairwise"),
        ("reward.model=python:a:b reward.head=mean", "of a model, and python:a:b is none"),
        ("reward.model=x reward.arguments={a: 1}", "those of a verify:NAME, measure:NAME or python:module:name"),
        ("reward.model=x reward.terms=[{model: y}]", "both given; keep one"),
        ("reward.model=null reward.head=1 reward.terms=[{model: y}]", "each term has its own"),
        ("reward.model=null reward.terms=[{weight: 1}]", "a term needs model"),
        ("reward.model=null reward.terms=[{model: y, weight: 0}]", "nothing to maximise"),
        ("reward.model=null reward.terms=[{model: y, clip: [1, 0]}]", "below its second"),
        ("reward.model=null reward.terms=[{model: y, normalise: running}]", "moves the objective"),
        ("reward.model=null reward.terms=[{model: y, wieght: 2}]", "did you mean reward.terms.0.weight"),
        ("prompt_terms=[{term: lenght}]", "there are length, kept, fluency"),
        ("prompt_terms=[{term: kept, limit: 3}]", "limit belongs to length"),
        ("prompt_terms=[{term: kept}, {term: kept}]", "give each a name"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_loaded(given, told):
    words = [part.strip() for part in given.replace(" reward.", "\nreward.").split("\n")]
    with pytest.raises(SettingsError) as caught:
        config.load("lab", words)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
