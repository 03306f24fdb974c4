"""The page as a reader gets it: what it says, what it survives, what it never does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import ARMS, REWARD, SECOND, Change, evaluation, samples, write_lines, write_run

from alignpro.report import write_readme_figure, write_report
from alignpro.report.palette import looks
from alignpro.report.reading import read_run
from alignpro.report.verdict import verdict


class Page(HTMLParser):
    """The page as a browser's parser sees it: text by section of interest, and every element there is."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.title = ""
        self.summary = ""
        self.text = ""
        self._open: list[str] = []
        self._in_summary = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        self._open.append(tag)
        if tag == "section":
            self._in_summary = values.get("class") == "summary"
        if tag == "script":
            self.scripts.append((values.get("type"), ""))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        tag = self._open[-1] if self._open else ""
        if tag == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif tag != "style" and not re.fullmatch(r" *\n\s*", data):  # line breaks between elements are the template's
            if tag != "pre":
                data = re.sub(r"[ \n]+", " ", data)
            self.text += data
            if self._in_summary:
                self.summary += data
            if tag == "h1":
                self.title += data

    @property
    def examples(self) -> dict[str, Any]:
        """What page.js is given."""
        found: dict[str, Any] = json.loads(next(text for kind, text in self.scripts if kind == "application/json"))
        return found


def page_of(run_dir: Path) -> Page:
    path = write_report(run_dir)
    assert path == run_dir / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def making_text(run_dir: Path) -> str:
    """What the last section says."""
    page_of(run_dir)
    html = (run_dir / "report.html").read_text(encoding="utf-8")
    return Page(html[html.index('<section id="making">') :]).text


def gain(tree: dict[str, Any], reward: str = REWARD) -> dict[str, Any]:
    """The line of the trained prompter against no prompter."""
    found: dict[str, Any] = next(
        d for d in tree["differences"] if (d["a"], d["b"], d["reward"]) == ("align_pro", "no_prompter", reward)
    )
    return found


def set_gain(tree: dict[str, Any], value: float, half: float, reward: str = REWARD) -> None:
    gain(tree, reward).update(mean_difference=value, ci95=[value - half, value + half])


def set_win_rate(tree: dict[str, Any], rate: float, half: float = 0.03) -> None:
    for wr in tree["win_rates"]:
        if (wr["a"], wr["b"]) == ("align_pro", "no_prompter"):
            wr.update(win_rate=rate, ci95=[rate - half, rate + half])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str]:
    """The page of an unchanged run, parsed and as written."""
    run_dir = write_run(tmp_path_factory.mktemp("whole") / "run")
    return page_of(run_dir), (run_dir / "report.html").read_text(encoding="utf-8")


def test_headline_figures_are_those_of_the_evaluation(whole: tuple[Page, str]) -> None:
    page, _ = whole
    assert page.title == "The trained prompter beat no prompter"
    for said in (
        "1.23 [1.14, 1.32] with the trained prompter",
        "0.81 [0.72, 0.90] with no prompter",
        "over 12 prompts with 4 answers each",
        "paired by prompt, is +0.42 [0.35, 0.49].",
        f"By {SECOND}, which was not trained on, the gain is +0.140 [0.117, 0.163].",
        f"Judged by {SECOND}, the trained prompter won 64% [61, 67] of comparisons with no prompter.",
        "the answering model itself (RLHF), the reward of the trained prompter differs by −0.24 [−0.31, −0.17]",
        "71% [58, 84]",
    ):
        assert said in page.summary, said
    assert "not impartial" not in page.summary


def test_every_arm_is_named_in_table_and_examples(change: Change) -> None:
    def add_arms(tree: dict[str, Any]) -> None:
        tree["arms"]["gibbs_32"] = tree["arms"]["gibbs_8"]
        tree["arms"]["somebody's own arm"] = tree["arms"]["rlhf"]
        tree["an unknown key"] = {"of": ["whatever", "kind"]}

    page = page_of(change(add_arms))
    for label in ("No prompter", "Reference prompter", "Align-Pro", "Gibbs, N = 8", "Gibbs, N = 32", "RLHF"):
        assert label in page.text
    assert "an arm that this report does not know: somebody's own arm" in page.text
    assert [arm["name"] for arm in page.examples["head"]["arms"]] == list(ARMS)
    for section in ("arms", "differences", "headroom", "spread", "wins", "training", "examples", "making"):
        assert ("section", {"id": section}) in page.elements


RAISED = "The trained prompter raised the reward it was trained on; "


@pytest.mark.parametrize(
    ("own", "second", "rate", "title"),
    [
        (0.01, 0.0, 0.5, "No difference between the trained prompter and no prompter was shown"),
        (-0.3, -0.2, 0.4, "The trained prompter did worse than no prompter"),
        (0.4, -0.2, 0.4, RAISED + "gold_utility, which was not trained on, found a loss"),
        (0.4, 0.0, 0.5, RAISED + "gold_utility, which was not trained on, showed no difference"),
        (0.4, 0.2, 0.5, RAISED + "judges that were not trained on disagree"),
        (0.0, 0.2, 0.6, "No difference in reward was shown; gold_utility, which was not trained on, found a gain"),
        (
            -0.3,
            0.2,
            0.6,
            "The trained prompter lowered the reward; gold_utility, which was not trained on, found a gain",
        ),
    ],
)
def test_title_claims_no_more_than_the_intervals(
    change: Change, own: float, second: float, rate: float, title: str
) -> None:
    def edit(tree: dict[str, Any]) -> None:
        set_gain(tree, own, 0.05)
        set_gain(tree, second, 0.05, SECOND)
        set_win_rate(tree, rate)

    said = verdict(read_run(change(edit)), looks(ARMS))
    assert said.title == title
    lines = " ".join(said.lines)
    assert lines.count("the interval spans zero") == (abs(own) < 0.05) + (abs(second) < 0.05)
    assert lines.count("the interval spans 50%") == (rate == 0.5)


def test_interval_that_spans_zero_is_said_to_show_nothing(change: Change) -> None:
    def edit(tree: dict[str, Any]) -> None:
        set_gain(tree, 0.03, 0.08)
        set_gain(tree, 0.01, 0.08, SECOND)
        set_win_rate(tree, 0.51)

    page = page_of(change(edit))
    assert page.title == "No difference between the trained prompter and no prompter was shown"
    assert "is +0.03 [−0.05, 0.11]; the interval spans zero: none was shown." in page.summary
    assert "won 51% [48, 54] of comparisons with no prompter; the interval spans 50%" in page.summary
    assert "beat no prompter" not in page.text


def test_judge_that_is_the_training_reward_is_called_partial(change: Change) -> None:
    def edit(tree: dict[str, Any]) -> None:
        tree["second_reward"] = None
        tree["differences"] = [d for d in tree["differences"] if d["reward"] == REWARD]
        for wr in tree["win_rates"]:
            wr["judge"] = REWARD
        for arm in tree["arms"].values():
            arm["second_reward"] = None

    page = page_of(change(edit))
    assert page.title == "The trained prompter raised the reward it was trained on, its only judge"
    assert "That judge is the reward that was trained on, so it is not impartial." in page.summary
    assert SECOND not in page.text


@pytest.mark.parametrize(
    ("arm", "did", "did_not"),
    [
        ("template_best", "chose among candidates: not impartial", "did not choose among candidates"),
        ("template_1", "was given", "was given besides"),
    ],
)
def test_where_nothing_is_trained_no_reward_is_said_to_have_been_trained_on(
    change: Change, arm: str, did: str, did_not: str
) -> None:
    def edit(tree: dict[str, Any]) -> None:
        kept = evaluation({arm: (0.42, None), "no_prompter": (0.0, None)})
        tree.update(arms=kept["arms"], differences=kept["differences"], win_rates=kept["win_rates"])

    run_dir = change(edit)
    for name in ("metrics.jsonl", "samples.jsonl", "headroom.json", "rlhf/metrics.jsonl"):
        (run_dir / name).unlink(missing_ok=True)
    page = page_of(run_dir)
    assert f"which {did.partition(':')[0]}" in page.text and f"the reward that {did}." in page.text
    assert f"By {SECOND}, which {did_not}, the gain is" in page.summary
    assert "trained on" not in page.text


def test_few_prompts_are_no_verdict(change: Change) -> None:
    said = verdict(read_run(change(lambda tree: tree.update(prompts=2))), looks(ARMS))
    assert said.title == "Too few prompts to say whether the trained prompter beat no prompter"
    assert any("have no interval: nothing can be concluded" in line for line in said.lines)


def test_differences_and_wins_written_the_other_way_round_say_the_same(change: Change, run_dir: Path) -> None:
    before = verdict(read_run(run_dir), looks(ARMS))

    def turn(tree: dict[str, Any]) -> None:
        for d in tree["differences"]:
            lo, hi = d["ci95"]
            d.update(a=d["b"], b=d["a"], mean_difference=-d["mean_difference"], ci95=[-hi, -lo])
        for wr in tree["win_rates"]:
            lo, hi = wr["ci95"]
            wr.update(a=wr["b"], b=wr["a"], win=wr["loss"], loss=wr["win"])
            wr.update(win_rate=1 - wr["win_rate"], ci95=[1 - hi, 1 - lo])

    assert verdict(read_run(change(turn)), looks(ARMS)) == before


def test_texts_cannot_become_markup(run_dir: Path) -> None:
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 191 }}{% raw %}\"'>"
    texts = [attack, "שלום (abc)", "a\u2028b\u2029c\x00", "```html\n<!--<script>\n```", "👩‍👩‍👧 $x_1$ &lt;"]
    lines = samples()
    for line in lines:
        prompt = texts[line["prompt_id"] % len(texts)]
        line.update(prompt=prompt, rewrite=f"{prompt} please", response=prompt * 2)
    write_lines(run_dir / "samples.jsonl", lines)
    tree = json.loads((run_dir / "evaluation.json").read_text(encoding="utf-8"))
    for holder in [*tree["differences"], *tree["win_rates"]]:
        holder.update({key: attack for key, value in holder.items() if value == SECOND})
    tree["second_reward"] = tree["arms"][attack] = attack
    tree["arms"][attack] = {**tree["arms"]["rlhf"], "reward_terms": {attack: {"mean": 1.0, "ci95": [0.5, 1.5]}}}
    (run_dir / "evaluation.json").write_text(json.dumps(tree), encoding="utf-8")
    (run_dir / "config.yaml").write_text(json.dumps({"prompter": {"template": attack}}), encoding="utf-8")
    (run_dir / "environment.json").write_text(
        json.dumps({"command": ["alignpro", attack], attack: attack}), encoding="utf-8"
    )

    page = page_of(run_dir)
    assert [kind for kind, _ in page.scripts] == ["application/json", None]
    assert "img" not in {tag for tag, _ in page.elements}
    assert "1337" not in page.text
    for said in (f"that this report does not know: {attack}", f"Judged by {attack}", f"Mean second reward: {attack}"):
        assert said in page.text, said
    assert {entry["x"] for entry in page.examples["prompts"]} == set(texts)
    assert {entry["arms"]["align_pro"]["y"] for entry in page.examples["prompts"]} == {text * 2 for text in texts}
    # An HTML parser that meets <!--<script> inside a script element looks for its end elsewhere.
    assert "<!--" not in (run_dir / "report.html").read_text(encoding="utf-8")


def test_command_that_made_the_run_is_shown(run_dir: Path) -> None:
    for command in (["alignpro", "run", "--out", "a b"], "alignpro run --out 'a b'", "run --out 'a b'"):
        (run_dir / "environment.json").write_text(json.dumps({"command": command}), encoding="utf-8")
        assert "alignpro run --out 'a b'" in making_text(run_dir)


def test_lone_surrogate_is_replaced(run_dir: Path) -> None:
    with (run_dir / "samples.jsonl").open("w", encoding="utf-8") as file:
        file.write(
            '{"stage": "evaluation", "arm": "align_pro", "prompt_id": 1, "prompt": "\\ud83d cut", "reward": 1}\n'
        )
    assert page_of(run_dir).examples["prompts"][0]["x"] == "\ufffd cut"


def test_page_loads_nothing_and_runs_only_its_own_script(whole: tuple[Page, str]) -> None:
    page, html = whole
    for tag, values in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert (values.get(name) or "#").startswith("#"), (tag, values)
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)]?)", html)) <= {"#"}
    policy = next(v["content"] or "" for t, v in page.elements if t == "meta" and "http-equiv" in v)
    script = next(text for kind, text in page.scripts if kind is None)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in policy
    assert "default-src 'none'" in policy


def test_every_chart_says_what_it_is_and_ids_are_unique(whole: tuple[Page, str]) -> None:
    page, html = whole
    charts = [values for tag, values in page.elements if tag == "svg"]
    assert len(charts) > 10
    assert all(values.get("role") == "img" and values.get("aria-label") for values in charts)
    ids = [values["id"] for _, values in page.elements if values.get("id")]
    assert len(ids) == len(set(ids))
    assert "#fe00" not in html  # no sentinel colour is left


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / place / "run") for place in "ab")
    assert write_report(first).read_bytes() == write_report(second).read_bytes()
    figures = [write_readme_figure(run, run.parent / "figure.svg").read_bytes() for run in (first, second)]
    assert figures[0] == figures[1]


def test_settings_of_matplotlib_do_not_reach_the_page(run_dir: Path) -> None:
    import matplotlib

    plain = write_report(run_dir).read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert write_report(run_dir).read_bytes() == plain


def test_what_models_are_asked_how_many_prompts_trained_and_how_long_answers_are(run_dir: Path, change: Change) -> None:
    words = {"mean_response_words": 31.4, "mean_response_words_ci95": [29.1, 33.8], "mean_rewrite_words": 17.25}

    def tell(tree: dict[str, Any]) -> None:
        tree["training_prompts"] = 1184
        tree["arms"]["align_pro"].update(words)

    meta_prompt = "Rewrite <this> so that {prompt} is {{clearer}}."
    settings = {"prompter": {"template": meta_prompt, "system": "Be brief."}}
    (run_dir / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")
    page = page_of(change(tell))
    assert "Training asked 1\u202f184 other prompts." in page.text
    assert "31.4 [29.1, 33.8]rewrite 17.2" in page.text
    assert f"in the place that braces mark:{meta_prompt}" in page.text
    assert "The prompter's system message:Be brief." in page.text
