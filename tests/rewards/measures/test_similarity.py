"""Similarity by a tiny sentence encoder, against transformers on each text alone."""

import json

import numpy as np
import pytest
import torch
from tiny import save_model
from tiny_classifiers import classifier_tokenizer, save_classifier
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from alignpro.config import RewardSpec, build
from alignpro.errors import DataError, ModelNotUsable, SettingsError
from alignpro.rewards import load_reward
from alignpro.rewards.measures.encoder import load_encoder
from alignpro.rewards.measures.similarity import EMPTY
from alignpro.running.inputs import fingerprints
from alignpro.types import Prompt, Turn

PROMPTS = ["tell me about owls", "rain", "a quiet old town in the rain", "<|end|> owls"]
ANSWERS = ["owls " * 30, "rain in a quiet old town", "tell me", "about owls"]
LIMIT = 20
MEAN = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False, "word_embedding_dimension": 32}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders") / "bare"
    torch.manual_seed(3)
    tokenizer = classifier_tokenizer("bert")
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=0,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def encoder(bare, tmp_path):
    """Makes an encoder's folder with these layers and this pooling."""

    def make(pooling=MEAN, kinds=("Transformer", "Pooling", "Normalize"), **sentences):
        folder = tmp_path / f"encoder-{len([*tmp_path.iterdir()])}"
        (folder / "1_Pooling").mkdir(parents=True)
        for file in bare.iterdir():
            (folder / file.name).symlink_to(file)
        layers = [
            {"idx": i, "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
            for i, kind in enumerate(kinds)
        ]
        (folder / "modules.json").write_text(json.dumps(layers))
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": LIMIT} | sentences))
        return folder

    return make


@torch.inference_mode()
def alone(folder, texts, pool):
    """transformers by itself, one text at a time."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    given = [tokenizer(text, truncation=True, max_length=LIMIT, return_tensors="pt") for text in texts]
    states = [pool(model(**one).last_hidden_state[0]) for one in given]
    return torch.nn.functional.normalize(torch.stack(states), dim=1).double().numpy()


POOLS = {
    "mean": (MEAN, lambda states: states.mean(0)),
    "cls": ({"pooling_mode_cls_token": True}, lambda states: states[0]),
    "max": ({"pooling_mode_max_tokens": True}, lambda states: states.max(0).values),
    "lasttoken": ({"pooling_mode": "lasttoken"}, lambda states: states[-1]),
}


@pytest.mark.parametrize("kind", POOLS)
def test_a_cosine_is_that_of_each_text_alone_whatever_the_batch(kind, encoder):
    told, pool = POOLS[kind]
    folder = encoder(told)
    plain = [text.replace("<|end|>", "< |end|>") for text in PROMPTS]  # a special token spelt out is text
    wanted = (alone(folder, plain, pool) * alone(folder, ANSWERS, pool)).sum(1)
    for size in (1, 64):
        reward = load_reward(RewardSpec(model=f"measure:similarity:{folder}", batch_size=size))
        assert (reward.encoder.pooling, reward.encoder.limit) == (kind, LIMIT)
        np.testing.assert_allclose(reward.score(PROMPTS, ANSWERS).values, wanted, atol=1e-5)
    assert reward.name == f"similarity:{folder.name}"
    assert np.std(wanted) > 0.01


def test_equal_texts_are_nearest_and_an_empty_answer_has_no_reward(encoder):
    reward = load_reward(RewardSpec(model=f"measure:similarity:{encoder()}"))
    scored = reward.score(PROMPTS[:1] * 3, [f"<think>hm</think>{PROMPTS[0]}", " ", "rain"])
    assert scored.values[0] == pytest.approx(1)
    assert scored.values[2] < 0.99
    assert scored.reasons == (None, EMPTY, None)


def test_a_column_stands_in_the_place_of_the_prompt_and_its_nearest_text_counts(encoder):
    reward = load_reward(RewardSpec(model=f"measure:similarity:{encoder()}", arguments={"column": "gold"}))
    rows = [{"gold": ["rain", "owls about town"]}, {"gold": "rain"}, {}]
    scored = reward.score([Prompt("x", row=row) for row in rows], ["rain"] * 3)
    np.testing.assert_allclose(scored.values, [1, 1, np.nan], atol=1e-6)
    assert scored.reasons == (None, None, "no gold")
    with pytest.raises(DataError, match="reads the column 'gold', and no prompt has it"):
        reward.check([Prompt("x")])


def test_earlier_turns_are_said_not_to_be_read(encoder):
    reward = load_reward(RewardSpec(model=f"measure:similarity:{encoder()}"))
    assert reward.check([Prompt("x")]) == []
    (told,) = reward.check([Prompt("x"), Prompt("y", history=(Turn("user", "a"), Turn("assistant", "b")))])
    assert told.endswith("reads the last turn alone of 1 prompts")


def test_a_bare_encoder_is_pooled_by_the_mean_and_case_and_limits_are_its_own(bare, encoder):
    plain = load_encoder(str(bare))
    assert (plain.pooling, plain.limit, plain.lower) == ("mean", 64, False)
    lower = load_encoder(str(encoder(do_lower_case=True)))
    np.testing.assert_allclose(lower.embed(["OWLS"]), lower.embed(["owls"]), atol=1e-6)
    assert lower.embed([]).shape == (0, 32)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kinds": ("Transformer", "Pooling", "Dense")}, "lists Transformer, Pooling, Dense; of those"),
        ({"pooling": {"pooling_mode_weightedmean_tokens": True}}, "pools by weightedmean_tokens; one of mean, cls"),
        ({"pooling": MEAN | {"pooling_mode_cls_token": True}}, "pools by mean and cls; one of"),
        ({"pooling": {}}, "pools by nothing"),
    ],
)
def test_an_encoder_whose_layers_are_not_computed_is_refused(change, told, encoder):
    with pytest.raises(ModelNotUsable, match=told):
        load_encoder(str(encoder(**change)))


def test_what_is_no_sentence_encoder_is_refused(tmp_path, bare):
    for folder in (save_model(tmp_path / "lm", "llama"), save_classifier(tmp_path / "rm", "bert")):
        with pytest.raises(ModelNotUsable, match=r"it is a \w+For\w+ without modules.json, so it is no sentence enc"):
            load_encoder(str(folder))
    with pytest.raises(SettingsError, match=r"reward\.model measure:similarity: name its encoder"):
        load_reward(RewardSpec(model="measure:similarity"))
    with pytest.raises(SettingsError, match="unknown argument encoder; it takes column"):
        load_reward(RewardSpec(model=f"measure:similarity:{bare}", arguments={"encoder": "x"}))
    with pytest.raises(ModelNotUsable, match="no such folder"):
        load_reward(RewardSpec(model="measure:similarity:./none"))


def test_an_encoder_is_found_from_any_folder_in_packages_and_known_again(encoder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = encoder()
    given = RewardSpec(model=f"measure:similarity:{folder.name}")
    assert given.model == f"measure:similarity:{folder}"
    settings = build({"reward": {"terms": [{"model": given.model}]}})
    (before,) = fingerprints(settings).items()
    assert before[0] == f"reward.terms.0.model {given.model}"
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    assert fingerprints(settings)[before[0]] != before[1]
    package = tmp_path / "an_encoder"
    folder.rename(package)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reward = load_reward(RewardSpec(model="measure:similarity:package:an_encoder"))
    assert reward.name == "similarity:an_encoder"
