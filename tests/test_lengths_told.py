"""A sentence without spaces has a length wherever lengths are charged, controlled or told."""

import numpy as np
from scripted_arms import arm

from alignpro.config import PromptTerm
from alignpro.data.preferences import Preference
from alignpro.evaluate.summary import summarise
from alignpro.fits.held_out import figures
from alignpro.judges.comparisons import Comparison
from alignpro.judges.win_rate import sum_up
from alignpro.rewards.prompt_terms import load_prompt_terms
from alignpro.types import Judgement, Prompt

CHINESE, THAI = "请简短地讲一讲猫头鹰。", "เล่าเรื่องนกฮูกสั้นๆ"


def test_a_sentence_without_spaces_has_a_length_wherever_one_counts():
    long = f"{CHINESE}{CHINESE}"
    terms = load_prompt_terms([PromptTerm(term="length", limit=4)], None)
    assert terms.score(["x", "x"], [CHINESE, THAI]).total.tolist() == [-6, -10]
    answered = arm("align_pro", [[CHINESE], [long]])
    assert summarise([answered], "length", None).arms["align_pro"].response_words.value == 15
    made = [Comparison(i, 0, long, CHINESE, (Judgement("a"),)) for i in range(3)]
    assert sum_up("a", "b", "judge", made).length_difference.value == 10
    pairs = [Preference(Prompt(f"{i}"), long, CHINESE, None) for i in range(4)]
    told = figures(np.array([[1.0, 0.0]] * 4), pairs, 20, 0)
    assert (told["longer_wins"].value, told["length"].longer_chosen_by_model.value) == (1, 1)


def test_equal_length_is_that_of_characters_seen():
    """Four flags, of eight code points, are as long as four letters; then length says nothing of who wins."""
    made = [Comparison(i, 0, "🇩🇪" * 4, "abcd", (Judgement("a"),)) for i in range(4)]
    told = sum_up("a", "b", "judge", made)
    assert told.length_controlled.withheld == "the difference in length is the same in every comparison"
