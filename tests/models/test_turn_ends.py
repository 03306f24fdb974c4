"""The token that ends a turn of the chat template ends an answer, whatever the tokenizer calls its end of text."""

import json

import numpy as np
import pytest
from tiny import CHAT, make_tokenizer, save_model
from tokenizers import AddedToken
from transformers import AutoTokenizer

from alignpro.config import FrozenSettings, PrompterSettings, Sampling
from alignpro.models.framing import Frame
from alignpro.models.local import load_frozen, load_prompter
from alignpro.running.checks import tell_models
from alignpro.train.sft import closing, completion
from alignpro.types import Generation

PLAIN = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
WORDS = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
RAISING = "{% if messages|length > 1 %}{{ raise_exception('one turn') }}{% endif %}{{ messages[0]['content'] }}"
LAST = "{% for m in messages %}{{ m['content'] }}{{ '<|end|>' if loop.last else '<|user|>' }}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHAT, "<|end|>"),
        (CHAT.replace("<|end|>", "\n<|end|>\n"), "<|end|>"),
        (CHAT.replace("<|end|>", "<turn>"), "<turn>"),  # added, and no special token
        (PLAIN, "<|user|>"),  # where the next turn begins
        (LAST, "<|end|>"),  # the answer's own end before what parts turns
        (WORDS, None),
        (RAISING, None),
    ],
)
def test_the_end_of_a_turn_is_found(template, end):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([AddedToken("<turn>", special=False)])
    tokenizer.chat_template = template
    found = Frame().read_by(tokenizer, "frozen").turn_end
    assert found == (None if end is None else tokenizer.convert_tokens_to_ids(end))


def test_without_a_chat_template_nothing_ends_a_turn():
    assert Frame().read_by(make_tokenizer(chat=False), "frozen").turn_end is None


@pytest.fixture
def folder(tmp_path):
    """A model whose turns end in a token that neither it nor its tokenizer calls an end of text."""
    save_model(tmp_path, seed=5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    tokenizer.eos_token = "<|system|>"
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "generation_config.json"
    told = json.loads(path.read_text()) | {"eos_token_id": 4, "repetition_penalty": 1.3, "top_k": 20, "do_sample": True}
    path.write_text(json.dumps(told))
    return tmp_path


def test_an_answer_ends_with_its_turn(folder):
    frozen = load_frozen(FrozenSettings(model=str(folder), sampling=Sampling(max_new_tokens=64)))
    assert frozen.lm.eos_ids == [1, 4] and closing(frozen.lm) == completion(frozen.lm, "owls")[-1] == 1
    ends = [g for row in frozen.respond(["owls"], [300], seed=0) for g in row if g.finish == "stop"]
    assert {int(g.tokens[-1]) for g in ends} == {1, 4}
    assert all(not np.isin(g.tokens[:-1], [1, 4]).any() and "<|end|>" not in g.text for g in ends)


def test_the_token_that_ends_a_turn_is_no_text(folder):
    lm = load_frozen(FrozenSettings(model=str(folder), sampling=Sampling(max_new_tokens=4))).lm
    assert lm.frame.turn_end == 1
    said = lm.frame.tokens("owls")
    assert lm._decode(Generation("", "stop", np.array([*said, 1]))) == "owls"
    assert lm._decode(Generation("", "stop", np.array([*said, *lm.frame.tokens("!")]))) == "owls!"


def test_what_a_generation_config_asks_for_and_is_not_done_is_said(folder):
    def said(**sampling):
        told = []
        own = Sampling(max_new_tokens=4, **sampling)
        parts = {
            "prompter": load_prompter(PrompterSettings(model=str(folder), sampling=own)),
            "frozen": load_frozen(FrozenSettings(model=str(folder), sampling=own)),
            "judge": None,
        }
        tell_models(parts, told.append)
        return told

    assert ["repetition_penalty 1.3 (used: none), top_k 20 (used: 0): texts" in line for line in said()] == [True, True]
    assert all("asks for repetition_penalty 1.3 (used: none): texts" in line for line in said(top_k=20))
    assert all(
        "asks for repetition_penalty 1.3 (used: none): texts" in line for line in said(top_k=1)
    )  # greedy, by whatever top_k
    path = folder / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "repetition_penalty": 1.0, "top_k": None}))
    assert said() == []
