"""Where a system message goes, under templates of every temper."""

import pytest
from tiny import CHAT, make_tokenizer, save_model

from alignpro.config import FrozenSettings, PrompterSettings
from alignpro.errors import ModelNotUsable, SettingsError
from alignpro.models.framing import Frame
from alignpro.models.local import load_frozen, load_prompter

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHAT
)
DROPS_SYSTEM = CHAT.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
NO_USER = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ raise_exception('no user here') }}{% endif %}{% endfor %}"
)


def tokenizer(template):
    made = make_tokenizer()
    made.chat_template = template
    return made


def framed(made, system, template="{prompt}"):
    return made.decode(Frame.of(template, system, "frozen").read_by(made, "frozen").ids("owls"))


def test_a_system_message_has_its_own_turn_or_is_folded():
    assert framed(tokenizer(CHAT), "Be brief.") == "<|system|>Be brief.<|end|><|user|>owls<|end|><|assistant|>"
    for template in (NO_SYSTEM, DROPS_SYSTEM):
        assert framed(tokenizer(template), "Be brief.") == "<|user|>Be brief.\n\nowls<|end|><|assistant|>"
    assert framed(tokenizer(None), "Be brief.") == "Be brief.\n\nowls"


@pytest.mark.parametrize("template", [CHAT, NO_SYSTEM, DROPS_SYSTEM, None])
def test_without_one_nothing_changes(template):
    made = tokenizer(template)
    assert framed(made, None) == made.decode(Frame(tokenizer=made).ids("owls"))


def test_what_folding_cannot_help_is_told_with_the_role():
    with pytest.raises(ModelNotUsable, match="takes no user turn"):
        framed(tokenizer(NO_USER), "Be brief.")
    with pytest.raises(SettingsError, match=r"put it into frozen\.template"):
        framed(tokenizer(CHAT), "Say {prompt}.")


def test_both_roles_take_the_setting(tmp_path):
    save_model(tmp_path)
    for kind, load in ((PrompterSettings, load_prompter), (FrozenSettings, load_frozen)):
        plain, told = (load(kind(model=str(tmp_path), system=system)).lm for system in (None, "Be brief."))
        text = told.tokenizer.decode(told.queries(["owls"])[0])
        assert text == "<|system|>Be brief.<|end|>" + plain.tokenizer.decode(plain.queries(["owls"])[0])
