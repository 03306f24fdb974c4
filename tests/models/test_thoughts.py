"""What a chat template is told about thinking, a thought that it opens, and marks that are special tokens."""

import numpy as np
import pytest
from tiny import CHAT, make_model, make_tokenizer
from tokenizers import AddedToken

from alignpro.config import FrozenSettings, JudgeSettings, PrompterSettings, Sampling, Settings, Thoughts
from alignpro.errors import SettingsError
from alignpro.judges.by_language_model import LlmJudge
from alignpro.models.framing import Frame
from alignpro.models.language_model import LanguageModel
from alignpro.models.local import LocalFrozenModel, LocalPrompter
from alignpro.models.written import NO_ANSWER
from alignpro.train.sft import completion
from alignpro.types import Generation

OPENS = CHAT.replace("<|assistant|>{% endif %}", "<|assistant|><think>\n{% endif %}")
QUIET = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
ASKS = CHAT.replace("<|assistant|>{% endif %}", "<|assistant|>" + QUIET + "{% endif %}")


def tokenizer(template, special=None):
    made = make_tokenizer()
    made.chat_template = template
    if special is not None:
        made.add_tokens([AddedToken(mark, special=special) for mark in ("<think>", "</think>")])
    return made


def language_model(monkeypatch, writes, template=CHAT, special=None, **thoughts):
    """One that writes the text, which ends by itself or, after a "|", is cut off."""
    made = tokenizer(template, special)
    frame = Frame.of("{prompt}", None, "frozen", thoughts=Thoughts(**thoughts)).read_by(made, "frozen")
    text, _, cut = writes.partition("|")
    ids = made(text, add_special_tokens=False)["input_ids"] + ([] if cut else [1])
    drawn = Generation("", "length" if cut else "stop", np.array(ids), np.zeros(len(ids), np.float32))
    monkeypatch.setattr(
        "alignpro.models.language_model.sample", lambda m, queries, counts, *rest, **more: [[drawn] * n for n in counts]
    )
    return LanguageModel("tiny", make_model(), frame, Sampling(max_new_tokens=8), 4, False)


@pytest.mark.parametrize("special", [None, False, True])
@pytest.mark.parametrize("template", [CHAT, OPENS])
def test_no_thought_reaches_a_rewrite_or_an_answer(monkeypatch, template, special):
    begin = "<think>" if template == CHAT else ""
    lm = language_model(monkeypatch, f"{begin}a <rewrite> and </rewrite></think>tell of owls", template, special)
    [[rewrite]] = LocalPrompter(lm).rewrite(["owls"], 1, 0)
    [[answer]] = LocalFrozenModel(lm).respond(["owls"], [1], 0)
    assert rewrite.text == answer.text == "tell of owls" and rewrite.failure is answer.failure is None
    assert rewrite.thought == answer.thought == "a <rewrite> and </rewrite>"
    assert len(answer.tokens) == len(lm.generate([[0]], [1], 0)[0][0].tokens) > 20  # what was sampled stays whole


@pytest.mark.parametrize("special", [None, False, True])
@pytest.mark.parametrize(("template", "begin"), [(CHAT, "<think>"), (OPENS, "")])
def test_a_thought_that_is_cut_off_is_a_failed_sample(monkeypatch, template, begin, special):
    lm = language_model(monkeypatch, f"{begin}a <rewrite>owls|", template, special)
    [[rewrite]] = LocalPrompter(lm).rewrite(["owls"], 1, 0)
    [[answer]] = LocalFrozenModel(lm).respond(["owls"], [1], 0)
    assert rewrite.failure == answer.failure == NO_ANSWER and "max_new_tokens" in NO_ANSWER
    assert rewrite.text == answer.text == ""
    judge = LlmJudge("judge", LocalFrozenModel(lm), ["accuracy"])
    assert judge.compare(["x"], ["a"], ["b"])[0].failure == NO_ANSWER


def test_marks_of_ones_own_or_none(monkeypatch):
    text = "<plan>a</plan>owls <think>b</think>"
    [[answer]] = LocalFrozenModel(language_model(monkeypatch, text, marks=[("<plan>", "</plan>")])).respond(
        ["x"], [1], 0
    )
    assert (answer.text, answer.thought) == ("owls <think>b</think>", "a")
    [[answer]] = LocalFrozenModel(language_model(monkeypatch, text, marks=[])).respond(["x"], [1], 0)
    assert (answer.text, answer.thought) == (text, "")


def test_the_chat_template_is_told_and_a_thought_that_it_opens_is_known():
    made = tokenizer(ASKS)
    quiet = Thoughts(template_arguments={"enable_thinking": False})
    shown = Frame.of("{prompt}", None, "frozen", thoughts=quiet).read_by(made, "frozen")
    plain = Frame().read_by(made, "frozen")
    assert made.decode(shown.ids("owls")) == made.decode(plain.ids("owls")) + "<think>\n\n</think>\n\n"
    assert shown.opened is plain.opened is None
    assert Frame().read_by(tokenizer(OPENS), "frozen").opened == ("<think>", "</think>")
    for template in (CHAT, None):
        with pytest.raises(SettingsError, match=r"frozen\.thoughts\.template_arguments"):
            Frame.of("{prompt}", None, "frozen", thoughts=quiet).read_by(tokenizer(template), "frozen")


def test_what_is_fitted_closes_the_thought_that_the_prompt_opens(monkeypatch):
    lm = language_model(monkeypatch, "x", OPENS)
    assert lm.tokenizer.decode(completion(lm, "owls")) == "\n</think>\n\nowls<|end|>"
    assert lm.frame.read(lm.frame.closed("owls")) == "owls"
    assert language_model(monkeypatch, "x").frame.closed("owls") == "owls"


def test_one_setting_for_every_model_that_writes():
    own = {"template_arguments": {"enable_thinking": False}, "marks": [["<a>", "</a>"]]}
    for kind in (PrompterSettings, FrozenSettings, JudgeSettings):
        assert kind(thoughts=own).thoughts.pairs == (("<a>", "</a>"),)
        for bad in ({"marks": [["<a>", ""]]}, {"marks": [["<a>", "<A>"]]}, {"template_arguments": {"tokenize": 1}}):
            with pytest.raises(ValueError, match="thoughts"):
                kind(thoughts=bad)
    with pytest.raises(ValueError, match="give the function"):
        FrozenSettings(model="python:a:b", thoughts={"template_arguments": {"x": 1}})
    assert Settings().frozen.thoughts.pairs[0] == ("<think>", "</think>")
