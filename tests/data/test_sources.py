import csv
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from alignpro.config import DATA_SETS, DataSettings, build
from alignpro.data.helpsteer import ATTRIBUTES
from alignpro.data.preferences import Preference
from alignpro.data.records import normalised
from alignpro.data.sources import SOURCES, load_preferences
from alignpro.data.split import split
from alignpro.errors import DataError, HubUnreachable, SettingsError
from alignpro.running.prompts import prompts_of
from alignpro.types import Prompt, Turn


def uf(i, high=8.0, low=2.0, **more):
    row = {"prompt": f"question {i}", "chosen": f"good {i}", "rejected": f"bad {i}"}
    return row | {"score_chosen": high, "score_rejected": low} | more


def hs(i, points, answer):
    return {"prompt": f"question {i}", "response": answer, "helpfulness": points, **dict.fromkeys(ATTRIBUTES, 1)}


def orca(i, system="Be brief."):
    return {"system": system, "question": f"question {i}", "chosen": f"good {i}", "rejected": f"bad {i}"}


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def prompts(path, seed=0, **more):
    return prompts_of(DataSettings(prompts=str(path), validation=0.0, **more), seed)


def texts(found):
    return {prompt.text for prompt in (*found.train, *found.test)}


def preferences(path, seed=0, **more):
    return load_preferences(DataSettings(prompts=str(path), **more), seed)


def test_settings_and_table_name_the_same_data_sets():
    assert tuple(SOURCES) == (*DATA_SETS, "preferences")


def test_a_file_is_told_by_the_fields_of_its_rows(tmp_path):
    path = write(tmp_path / "a.jsonl", [orca(i) for i in range(20)])
    found = prompts(path)
    assert {*found.train, *found.test} == {Prompt(f"question {i}", "Be brief.") for i in range(20)}
    plain = write(tmp_path / "b.jsonl", [{"prompt": f"{i}", "chosen": "x"} for i in range(20)])
    assert len(prompts(plain).train) + len(prompts(plain).test) == 20


def test_prompts_alone_can_be_taken_from_any_file(tmp_path):
    path = write(tmp_path / "a.jsonl", [uf(i) for i in range(20)])
    found = prompts(path, format="prompts")
    assert texts(found) == {f"question {i}" for i in range(20)}
    assert found.train[0].row.keys() == uf(0).keys() - {"prompt"}
    found = prompts(path, format="prompts", column="chosen")
    assert texts(found) == {f"good {i}" for i in range(20)}
    with pytest.raises(DataError, match="no preferences"):
        preferences(path, format="prompts")


def test_jsonl_json_and_csv_hold_the_same(tmp_path):
    rows = [uf(i, chosen=f"good\u2028{i}") for i in range(20)]
    write(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    loaded = [preferences(tmp_path / f"a.{kind}") for kind in ("jsonl", "json", "csv")]
    assert loaded[0] == loaded[1] == loaded[2]
    assert len(loaded[0].train) + len(loaded[0].test) == 20


def test_parquet_is_read_where_pyarrow_is_there(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    from pyarrow import parquet

    ask = {"role": "user", "content": "question 1"}
    chats = [
        uf(
            i,
            **{
                k: [ask | {"content": f"question {i}"}, {"role": "assistant", "content": k}]
                for k in ("chosen", "rejected")
            },
        )
        for i in range(20)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(chats), tmp_path / "a.parquet")
    assert preferences(tmp_path / "a.parquet") == preferences(write(tmp_path / "a.jsonl", chats))
    (tmp_path / "b.parquet").write_text("no such thing")
    with pytest.raises(DataError, match=r"b\.parquet: not a Parquet file"):
        prompts(tmp_path / "b.parquet")


def test_the_datasets_library_reads_what_a_folder_of_that_name_holds(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="a data set by its hub name needs datasets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rows = [hs(i, points, f"answer {points}") for points in (3, 1, 4) for i in range(20)]
    for name in ("helpsteer", "ultrafeedback"):
        (tmp_path / SOURCES[name].hub).mkdir(parents=True)
    write(tmp_path / SOURCES["helpsteer"].hub / "train.jsonl", rows)
    assert preferences("helpsteer") == preferences(write(tmp_path / "a.jsonl", rows))
    write(tmp_path / SOURCES["ultrafeedback"].hub / "train.jsonl", [uf(i) for i in range(20)])
    with pytest.raises(DataError, match="split train_prefs of HuggingFaceH4/ultrafeedback_binarized cannot be read"):
        prompts("ultrafeedback")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"pip install 'alignpro\[data\]'"):
        prompts(tmp_path / "a.parquet")


def test_no_prompt_is_on_both_sides_and_prompts_and_preferences_are_split_alike(tmp_path):
    rows = [hs(i, points, f"answer {points}") for points in (3, 1, 4) for i in range(60)]
    path = write(tmp_path / "a.jsonl", rows)
    asked, pairs = prompts(path), preferences(path)
    sides = {pair.prompt for pair in pairs.train}, {pair.prompt for pair in pairs.test}
    assert (set(asked.train), set(asked.test)) == sides
    assert not sides[0] & sides[1]
    assert len(pairs.train) + len(pairs.test) == 60 * 3
    assert asked.dropped == {"repeated": 120}


def test_preferences_of_ones_own_are_split_as_the_same_prompts_alone_are(tmp_path):
    rows = [{"prompt": f"question {i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(60)]
    rows[0] |= {"system": "Be brief."}
    pairs = preferences(write(tmp_path / "a.jsonl", rows))
    told = [pair for pair in (*pairs.train, *pairs.test) if pair.prompt.text == "question 0"]
    assert told == [Preference(Prompt("question 0", "Be brief."), "good 0", "bad 0", None)]
    (tmp_path / "a.txt").write_text("".join(f"question  {i}\n" for i in range(90)))
    alone = prompts(tmp_path / "a.txt")
    for mine, theirs in ((pairs.train, alone.train), (pairs.test, alone.test)):
        assert {pair.prompt.text for pair in mine} < {normalised(prompt.text) for prompt in theirs}
    chats = [{k: [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[k]}]
              for k in ("chosen", "rejected")} | {"prompt": row["prompt"]} for row in rows[1:]]  # fmt: skip
    assert {p.chosen for p in preferences(write(tmp_path / "b.jsonl", chats)).train} <= {r["chosen"] for r in rows}
    with pytest.raises(DataError, match=r"found prompt, better; wanted: .*preferences: prompt, chosen, rejected"):
        preferences(write(tmp_path / "c.jsonl", [{"prompt": "x", "better": "y"}]))


def test_whitespace_and_another_system_message_do_not_let_a_prompt_cross(tmp_path):
    rows = [orca(i) for i in range(40)] + [orca(i, "Be wordy.") | {"question": f"question \n {i}"} for i in range(40)]
    pairs = preferences(write(tmp_path / "a.jsonl", rows))
    assert len(pairs.train) + len(pairs.test) == 80
    train, test = ({normalised(p.prompt.text) for p in side} for side in (pairs.train, pairs.test))
    assert not train & test
    found = prompts(tmp_path / "a.jsonl")
    assert len(found.train) + len(found.test) == 80
    assert {normalised(prompt.text) for prompt in found.train} == train
    assert found.dropped == {}


def test_preferences_of_conversations_keep_system_and_history_and_no_row(tmp_path):
    before = [{"role": "user", "content": "owls?"}, {"role": "assistant", "content": "They fly."}]
    rows = [
        {
            "prompt": f"question {i}",
            "chosen": [*before, *ask, {"role": "assistant", "content": "good"}],
            "rejected": [*before, *ask, {"role": "assistant", "content": "bad"}],
            "system": "Be brief.",
            "id": i,
        }
        for i in range(20)
        for ask in [[{"role": "user", "content": f"question {i}"}]]
    ]
    pairs = preferences(write(tmp_path / "a.jsonl", rows))
    history = (Turn("user", "owls?"), Turn("assistant", "They fly."))
    asked = {Prompt(f"question {i}", "Be brief.", history) for i in range(20)}
    assert {pair.prompt for pair in (*pairs.train, *pairs.test)} == asked
    assert pairs.dropped == {}
    found = prompts(tmp_path / "a.jsonl")
    assert {replace(prompt, row={}) for prompt in (*found.train, *found.test)} == asked
    assert {p.prompt.text for p in pairs.train} == {p.text for p in found.train}


def test_preferences_of_a_test_file(tmp_path):
    mine = write(tmp_path / "a.jsonl", [uf(i) for i in range(20)])
    test = write(tmp_path / "t.jsonl", [hs(i, points, f"{points}") for i in range(18, 24) for points in (1, 2)])
    pairs = preferences(mine, test=str(test))
    assert {p.prompt.text for p in pairs.train} == {f"question {i}" for i in range(18)}
    assert {p.prompt.text for p in pairs.test} == {f"question {i}" for i in range(18, 24)}
    assert pairs.dropped == {"stands in data.test too": 2}
    (tmp_path / "t.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"data\.test .*t\.txt, line 1: prompts alone hold no preferences"):
        preferences(mine, test=str(tmp_path / "t.txt"))


def test_rows_added_later_move_no_prompt(tmp_path):
    few = prompts(write(tmp_path / "a.jsonl", [uf(i) for i in range(100)]))
    many = prompts(write(tmp_path / "b.jsonl", [uf(i) for i in reversed(range(300))]))
    assert set(few.train) < set(many.train)
    assert set(few.test) < set(many.test)
    assert set(prompts(tmp_path / "a.jsonl", seed=1).test) != set(few.test)


def test_the_share_is_met_on_average_and_small_sets_keep_both_sides():
    keys = [f"prompt {i}" for i in range(2000)]
    for share in (0.1, 0.5):
        _, test = split(keys, DataSettings(test_share=share), 0)
        assert abs(len(test) / 2000 - share) < 4 * (share * (1 - share) / 2000) ** 0.5
    for seed in range(40):
        for n in (3, 5):
            for share in (0.01, 0.99):
                train, test = split(keys[:n], DataSettings(test_share=share), seed)
                assert len(train) >= 1
                assert len(test) >= 2
                assert len(train) + len(test) == n
    assert sum(map(len, split(keys, DataSettings(limit=7), 0))) == 7
    with pytest.raises(DataError, match="2 different prompts cannot be split"):
        split(keys[:2], DataSettings(), 0)


def test_rows_that_cannot_be_used_are_counted(tmp_path):
    rows = [*(uf(i) for i in range(20)), uf(20, prompt=" "), uf(21, chosen=5), {"prompt": "x"}, "text", uf(22, 5, 5)]
    path = write(tmp_path / "a.jsonl", rows)
    unread = {
        "empty prompt": 1,
        "a number where an answer is wanted": 1,
        "a row without 'chosen', 'rejected', 'score_chosen', 'score_rejected'": 1,
        "a text for a row": 1,
    }
    assert prompts(path).dropped == unread
    loaded = preferences(path)
    assert loaded.dropped == unread | {"tied scores": 1}
    assert len(loaded.train) + len(loaded.test) + loaded.dropped.total() == len(rows)


@pytest.mark.parametrize(
    ("name", "rows", "settings", "messages"),
    [
        ("a.jsonl", [{"question": "x", "answer": "y"}], {},
         ["found question, answer", "helpsteer: prompt, response, helpfulness", "data.column"]),
        ("a.jsonl", [uf(1)], {"format": "orca"},
         ["found prompt, chosen, rejected, score_chosen", "orca: system, question, chosen, rejected or input."]),
        ("a.json", [{"text": "x"}], {}, ["found text", "ultrafeedback: prompt, chosen"]),
        ("a.json", {"rows": []}, {}, ["line 1: found rows; wanted: ultrafeedback"]),
        ("a.json", [], {}, ["it has no rows"]),
        ("a.jsonl", [[1]], {"format": "orca"}, ["line 1: found a list"]),
        ("a.txt", ["x"], {"format": "orca"}, ["found prompt; wanted: orca: system, question"]),
        ("a.jsonl", [uf(1, prompt="")] * 2, {}, ["no row of it can be used: 2 empty prompt"]),
    ],
)  # fmt: skip
def test_a_file_in_the_wrong_schema_says_what_was_found_and_wanted(tmp_path, name, rows, settings, messages):
    path = tmp_path / name
    if name == "a.jsonl":
        write(path, rows)
    else:
        path.write_text(json.dumps(rows))
    with pytest.raises(DataError) as caught:
        prompts(path, **settings)
    for message in [name, *messages]:
        assert message in str(caught.value)


def test_no_usable_pair_says_why(tmp_path):
    path = write(tmp_path / "a.jsonl", [uf(i, 5, 5) for i in range(4)])
    assert len(prompts(path).train) == 2
    with pytest.raises(DataError, match="no pair of answers can be used: 4 tied scores"):
        preferences(path)
    kept = load_preferences(DataSettings(prompts=str(path)), 0, keep_not_higher=True)
    assert {pair.margin for pair in (*kept.train, *kept.test)} == {0.0}


def test_json_that_is_broken_names_the_line(tmp_path):
    (tmp_path / "a.json").write_text('[{"prompt": 1},\n{broken]')
    with pytest.raises(DataError, match="line 2: not JSON"):
        prompts(tmp_path / "a.json")


def test_a_name_is_taken_from_the_hub(monkeypatch):
    asked = []

    def load_dataset(name, split):
        asked.append((name, split))
        return [uf(i) for i in range(20)]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    found = prompts("ultrafeedback")
    assert asked == [("HuggingFaceH4/ultrafeedback_binarized", "train_prefs")]
    assert len(found.train) + len(found.test) == 20


def test_a_hub_that_cannot_be_reached_and_a_library_that_is_not_there(monkeypatch):
    def load_dataset(name, split):
        raise ConnectionError("no network\nat all")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(HubUnreachable, match=r"nvidia/HelpSteer .*\(no network at all\)"):
        prompts("helpsteer")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'alignpro\[data\]'"):
        prompts("helpsteer")


@pytest.mark.parametrize("data", [{"prompts": "orca", "format": "helpsteer"}, {"prompts": "lab", "format": "prompts"}])
def test_a_format_that_contradicts_the_name_is_refused(data):
    with pytest.raises(SettingsError, match="leave it at auto"):
        build({"data": data})


def test_an_unknown_format_is_refused():
    with pytest.raises(SettingsError, match=r"data\.format"):
        build({"data": {"format": "helpster"}})
