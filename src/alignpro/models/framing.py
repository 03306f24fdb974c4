"""The frame: what stands around a prompt where a model reads it, and how the rewrite x' is read out of what it wrote.

Every model is framed here and nowhere else: local ones by token ids, those behind URLs, other trainers and exported
folders by messages. What users and models write is data, never an instruction: it stands between marks that do not
occur in it, and a special token spelt out in it, `<|im_end|>` say, which would close its own turn and open another, is
broken by a space before a tokenizer reads it; no other text is touched.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import TemplateError

from alignpro.config import META_PROMPT, PLAIN_META_PROMPT
from alignpro.errors import ModelNotUsable, SettingsError

Message = dict[str, str]
"""A turn: its `role` (system, user, assistant) and its `content`."""

REFUSALS = (TemplateError, TypeError, KeyError, ValueError)
"""What a chat template raises on a turn that it does not know."""

_TAGGED = re.compile(r"<rewrite>(.*?)</rewrite>", re.DOTALL | re.IGNORECASE)
_OPEN = re.compile(r"<rewrite>(.*)\Z", re.DOTALL | re.IGNORECASE)
_LABEL = re.compile(r"\A(?:the )?(?:rewritten|improved|better) (?:request|prompt)\s*:\s*", re.IGNORECASE)
_QUOTES = {'"': '"', "'": "'", "“": "”", "`": "`", "«": "»"}
_LISTED: WeakKeyDictionary[Any, tuple[tuple[Any, ...], list[str]]] = WeakKeyDictionary()
"""Special tokens of each tokenizer, and how it was when they were listed, which takes as long as a chat template."""


@dataclass(frozen=True)
class Frame:
    """A template and a system message around a prompt, as the model of `tokenizer` reads them.

    `template` holds the prompt at {prompt}, or between marks at {fenced}; what it gives is one user turn of the chat
    template, or the bare text where there is none. `system` is the turn before it; with `folds_system`, for chat
    templates without such a turn, it stands before the user's text and an empty line. Without a tokenizer the model is
    behind a URL, whose server has a chat template of its own.
    """

    template: str = "{prompt}"
    system: str | None = None
    tokenizer: Any = None
    folds_system: bool = False

    @classmethod
    def of(cls, template: str, system: str | None, where: str) -> Frame:
        """A frame from settings, for any model. Raises SettingsError where the prompt would be lost; `where` names the
        setting's section."""
        if "{prompt}" not in template and "{fenced}" not in template:
            raise SettingsError(
                f"{where}.template: template {template[:60]!r} holds neither {{prompt}} nor {{fenced}}, so the user's"
                " prompt would be lost"
            )
        if system and ("{prompt}" in system or "{fenced}" in system):
            raise SettingsError(
                f"{where}.system is fixed, and {{prompt}} in it would be lost; put it into {where}.template"
            )
        return cls(template, system)

    def read_by(self, tokenizer: Any, where: str) -> Frame:
        """The same frame for the model of the tokenizer.

        The system message is folded without a chat template, and where the chat template raises on a system turn or
        leaves its text out. Raises ModelNotUsable for a chat template that takes no user turn either, where folding
        cannot help.
        """
        made = replace(self, tokenizer=tokenizer, folds_system=False)
        if not made.has_chat_template:
            return replace(made, folds_system=True)
        try:
            replace(made, template="{prompt}", system=None).rendered("text")
        except REFUSALS as error:
            raise ModelNotUsable(
                f"{where}.model: its chat template takes no user turn ({error}), and the prompt has no other place;"
                " give a model whose template has one, or mend chat_template in its tokenizer"
            ) from error
        if self.system is None:
            return made
        try:
            folds = self.system.strip() not in replace(made, template="{prompt}").rendered("text")
        except REFUSALS:
            folds = True
        return replace(made, folds_system=folds)

    @property
    def has_chat_template(self) -> bool:
        """Whether the model reads turns; else it goes on with a text."""
        return self.tokenizer is None or bool(getattr(self.tokenizer, "chat_template", None))

    @property
    def folded(self) -> Frame:
        """The same frame with a system message that is folded written into the template."""
        if not self.folds_system:
            return self
        template = f"{self.system}\n\n{self.template}" if self.system else self.template
        return replace(self, template=template, system=None, folds_system=False)

    def messages(self, prompt: str, answer: str | None = None) -> list[Message]:
        """The conversation that the model is shown, to answer its last turn, or with the answer that was given."""
        system = None if self.folds_system else self.system
        turns = [] if system is None else [{"role": "system", "content": system}]
        turns.append({"role": "user", "content": self.text(prompt)})
        return turns if answer is None else [*turns, {"role": "assistant", "content": self.as_text(answer)}]

    def text(self, prompt: str) -> str:
        """The user's turn, which is all that a model without a chat template reads."""
        filled = self.fill(prompt=prompt)
        return f"{self.system}\n\n{filled}" if self.folds_system and self.system else filled

    def fill(self, **texts: str) -> str:
        """The template with every {name} replaced by its text, and {fenced} by `prompt` between marks."""
        plain = {name: self.as_text(text) for name, text in texts.items()}
        return expand(self.template, plain | ({"fenced": fence(plain["prompt"])} if "prompt" in plain else {}))

    def ids(self, prompt: str) -> list[int]:
        """Token ids [T] that make the model answer the prompt."""
        if self.has_chat_template:
            return self._encoded(self.messages(prompt), answered=False)
        ids = list(self.tokenizer(self.text(prompt))["input_ids"])
        eos = self.tokenizer.eos_token_id
        while len(ids) > 1 and eos is not None and ids[-1] == eos:  # a prompt that ends its own text has no answer
            ids.pop()
        return ids

    def conversation(self, prompt: str, answer: str) -> list[int]:
        """Token ids [T] of a prompt with its answer, ended as the chat template ends it, which there must be."""
        return self._encoded(self.messages(prompt, answer), answered=True)

    def rendered(self, prompt: str, answer: str | None = None) -> str:
        """What the chat template makes of the messages, as text. Raises whatever the chat template raises."""
        turns = self.messages(prompt, answer)
        return str(self.tokenizer.apply_chat_template(turns, add_generation_prompt=answer is None, tokenize=False))

    def _encoded(self, turns: list[Message], answered: bool) -> list[int]:
        made = self.tokenizer.apply_chat_template(
            turns, add_generation_prompt=not answered, tokenize=True, return_dict=True
        )
        return list(made["input_ids"])

    def as_text(self, text: str) -> str:
        """The text of a user or a model, with every special token that it spells broken."""
        return text if self.tokenizer is None else broken(text, self.special_tokens)

    def tokens(self, text: str) -> list[int]:
        """Token ids [T] of a text by itself, with no token added."""
        return list(self.tokenizer(self.as_text(text), add_special_tokens=False)["input_ids"])

    def described(self) -> dict[str, Any]:
        """What whoever serves the model must be told to frame prompts alike; `usage` is the code that does it."""
        turns = "Send it as one user turn, after the system turn if there is one"
        how = (
            "Break special tokens that the user's prompt spells out by a space. Put it at {prompt}, or at {fenced}"
            " between lines of <request> and </request>; where it holds request> itself, in any case, of <request-2>"
            f" and </request-2>, and so on. {turns if self.has_chat_template else 'Let the model go on'}. The rewrite"
            " stands between the last <rewrite> and </rewrite>, or is the whole text where they are missing."
        )
        own = self.folded
        return {"template": own.template, "system": own.system, "chat_template": self.has_chat_template, "how": how}

    @property
    def text_template(self) -> str | None:
        """For trainers and engines that put everything through a chat template: one by which a model without its own
        reads the messages as here. None where it has its own."""
        if self.has_chat_template:
            return None
        begins = list(self.tokenizer("a")["input_ids"])[:1] == [self.tokenizer.bos_token_id]
        return "{{ bos_token }}" * begins + "{% for message in messages %}{{ message['content'] }}{% endfor %}"

    @property
    def special_tokens(self) -> list[str]:
        """What the tokenizer reads as special tokens when it is spelt out, the longest first."""
        now = (len(self.tokenizer), *self.tokenizer.all_special_tokens)
        if (known := _LISTED.get(self.tokenizer)) and known[0] == now:
            return known[1]
        listed = special_tokens(self.tokenizer)
        _LISTED[self.tokenizer] = now, listed
        return listed

    @property
    def turns_in_words(self) -> str | None:
        """What stands between a user's turn and the answer where the chat template has no special token there.

        Nothing tells such words from the same words in a prompt, so a prompt can spell a turn out. None where a special
        token parts them, or nothing does.
        """
        if not self.has_chat_template:
            return None
        try:
            shown = Frame(tokenizer=self.tokenizer).rendered("\ue000")
        except REFUSALS:
            return None
        between = shown.partition("\ue000")[2]
        return None if any(token in between for token in self.special_tokens) else between.strip()

    def read(self, raw: str) -> str | None:
        """The rewrite x' in what a prompter wrote, or None where there is none.

        The last complete pair of marks counts; without one, what follows an opening mark (the model was cut off);
        without marks, the whole text less a leading label and one pair of quotes around it all.
        """
        if tagged := _TAGGED.findall(raw):
            text = str(tagged[-1])
        elif opened := _OPEN.search(raw):
            text = opened[1]
        else:
            text = _LABEL.sub("", raw.strip())
        text = text.strip()
        if len(text) >= 2 and _QUOTES.get(text[0]) == text[-1] and text[0] not in text[1:-1]:
            text = text[1:-1].strip()
        return text or None


def meta_prompt(tokenizer: Any) -> str:
    """The package's own template of a prompter: one for models with a chat template, one for those without."""
    return META_PROMPT if Frame(tokenizer=tokenizer).has_chat_template else PLAIN_META_PROMPT


def fence(text: str) -> str:
    """The text between marks that it does not contain, so that nothing in it can close the fence early."""
    tag, lowered, count = "request", text.lower(), 1
    while f"{tag}>" in lowered:
        count += 1
        tag = f"request-{count}"
    return f"<{tag}>\n{text}\n</{tag}>"


def expand(template: str, texts: Mapping[str, str]) -> str:
    """The template with every {name} replaced in one pass, so that nothing in a text is expanded."""
    return re.sub(rf"\{{({'|'.join(texts)})\}}", lambda place: texts[place[1]], template)


def special_tokens(tokenizer: Any) -> list[str]:
    """What the tokenizer reads as special tokens when it is spelt out, the longest first."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    listed = {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    return sorted((token for token in listed if len(token.strip()) > 1), key=lambda token: (-len(token), token))


def broken(text: str, tokens: Sequence[str]) -> str:
    """The text with every one of the tokens that it spells broken by a space after its first character.

    What holds none comes back as it is. A space, and nothing invisible: no tokenizer's normaliser takes it away.
    """
    while any(token in text for token in tokens):  # what remains of one may hold another
        text = re.sub("|".join(map(re.escape, tokens)), lambda token: f"{token[0][0]} {token[0][1:]}", text)
    return text


def usage(has_chat_template: bool) -> tuple[str, str]:
    """Python that frames as `Frame` does, for where this package is not: functions, which are those used here, and the
    lines that make `inputs` of `prompt`, of `tokenizer` and of `frame`, which is what `described` gives."""
    functions = "\n\n".join(inspect.getsource(function) for function in (fence, expand, special_tokens, broken))
    return functions, _FILLED + (_IN_TURNS if has_chat_template else _AS_IT_IS)


_FILLED = """\
plain = broken(prompt, special_tokens(tokenizer))
text = expand(frame["template"], {"prompt": plain, "fenced": fence(plain)})
"""
_IN_TURNS = """\
turns = [{"role": "system", "content": frame["system"]}] if frame["system"] is not None else []
inputs = tokenizer.apply_chat_template(
    [*turns, {"role": "user", "content": text}], add_generation_prompt=True, return_dict=True, return_tensors="pt"
)"""
_AS_IT_IS = 'inputs = tokenizer(text, return_tensors="pt")'
