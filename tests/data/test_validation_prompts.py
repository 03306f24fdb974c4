import pytest
import yaml

from alignpro import config
from alignpro.config import DataSettings
from alignpro.data.prompts import VALIDATED
from alignpro.errors import DataError, SettingsError
from alignpro.running.prompts import prompts_of


def of(path, seed=0, **more):
    return prompts_of(DataSettings(prompts=str(path), **more), seed)


def write(path, numbers):
    path.write_text("".join(f"prompt {i}\n" for i in numbers))
    return path


def test_they_come_out_of_the_training_prompts_and_move_no_test_prompt(tmp_path):
    path = write(tmp_path / "p.txt", range(400))
    plain, watched = of(path, validation=0), of(path)
    assert watched.test == plain.test
    assert plain.validation == ()
    assert sorted(x.text for x in (*watched.train, *watched.validation)) == sorted(x.text for x in plain.train)
    assert 20 <= len(watched.validation) <= 45  # a tenth of some 320
    assert [x for x in plain.train if x in set(watched.train)] == list(watched.train)
    assert of(path, seed=1).validation != watched.validation


def test_rows_added_later_move_none_and_a_larger_share_holds_the_smaller(tmp_path):
    few, many = of(write(tmp_path / "a.txt", range(300))), of(write(tmp_path / "b.txt", range(600)))
    assert set(few.validation) < set(many.validation)
    assert set(few.validation) < set(of(tmp_path / "a.txt", validation=0.3).validation)


@pytest.mark.parametrize(("count", "least"), [(3, 0), (4, 0), (8, 1), (20, 2)])
def test_of_a_few_prompts_most_are_left_for_training(tmp_path, count, least):
    loaded = of(write(tmp_path / "p.txt", range(count)), validation=1e-9)
    assert len(loaded.validation) == least
    assert loaded.train


def test_prompts_of_one_text_stay_together(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("".join(f'{{"prompt": "p {i}", "answer": {a}}}\n' for i in range(60) for a in range(3)))
    loaded = of(path, validation=0.3)
    sides = [{x.text for x in side} for side in (loaded.train, loaded.validation, loaded.test)]
    assert sum(map(len, sides)) == 60 == len(set.union(*sides))
    assert len(loaded.validation) == 3 * len(sides[1]) > 0


@pytest.mark.parametrize("test", [None, "test"])
def test_a_file_of_its_own_shares_no_prompt_with_the_other_sides(tmp_path, test):
    path, own = write(tmp_path / "p.txt", range(60)), write(tmp_path / "v.txt", [*range(10), *range(100, 110)])
    others = {"test": str(write(tmp_path / "t.txt", range(5, 30)))} if test else {}
    plain, watched = of(path, validation=0, **others), of(path, validation=str(own), **others)
    assert watched.test == plain.test
    sides = [{x.text for x in side} for side in (watched.train, watched.validation, watched.test)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sides[1] == {f"prompt {i}" for i in (*range(10), *range(100, 110))} - sides[2]
    assert watched.dropped[VALIDATED] == len({x.text for x in plain.train} & sides[1]) > 0
    with pytest.raises(DataError, match="every training prompt stands in it"):
        of(path, validation=str(path), **others)
    with pytest.raises(DataError, match=r"data\.validation gone\.txt: the file does not exist"):
        of(path, validation="gone.txt")


def test_the_labs_test_prompts_stay_and_it_takes_a_share_alone():
    plain, watched = (prompts_of(DataSettings(prompts="lab", validation=v), seed) for v, seed in ((0, 0), (0.1, 5)))
    assert watched.test == plain.test
    assert len(watched.train) + len(watched.validation) == len(plain.train)
    with pytest.raises(SettingsError, match="the lab has validation prompts of its own"):
        config.load("lab", ["data.validation=v.txt"])


def test_a_folder_from_before_has_none(tmp_path):
    tree = config.load("local", ["data.prompts=p.txt", "data.validation=0.1"]).model_dump(mode="json")
    del tree["data"]["validation"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    assert config.reread(tmp_path / "config.yaml").data.validation == 0


@pytest.mark.parametrize("asked", ["train.take=best", "train.patience=2"])
@pytest.mark.parametrize("without", ["evaluate.every=0", "data.validation=0"])
def test_what_goes_by_them_is_refused_where_nobody_looks(asked, without):
    with pytest.raises(SettingsError, match="go by the validation prompts"):
        config.load("local", [asked, without])
