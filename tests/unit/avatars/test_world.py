import pytest

from hspace_exp.avatars.probe import ATTRIBUTES
from hspace_exp.avatars.world import PROFESSIONS, SUBJECTS, judge_texts, load_truth

# The labour statistics of METHOD, typed a second time and in another order, so that a slip in the table shows.
PERCENT_FEMALE = (
    "carpenter 2, mechanic 4, construction worker 4, laborer 4, driver 6, sheriff 14, developer 20, farmer 22, "
    "guard 22, janitor 34, lawyer 35, cook 38, physician 38, CEO 39, analyst 41, manager 43, supervisor 44, "
    "salesperson 48, designer 54, writer 63, baker 65, clerk 72, cashier 73, counselor 73, attendant 76, teacher 78, "
    "tailor 80, librarian 84, assistant 85, cleaner 89, housekeeper 89, nurse 90, receptionist 90, hairdresser 92, "
    "secretary 95, doctor 38, person 50"
)


def test_p_female_is_the_labour_statistic() -> None:
    expected = {name: int(percent) / 100 for name, percent in (x.rsplit(" ", 1) for x in PERCENT_FEMALE.split(", "))}
    assert {subject: row["gender"]["female"] for subject, row in load_truth().items()} == expected
    assert len(PROFESSIONS) == len(set(PROFESSIONS)) == 36
    assert tuple(load_truth()) == SUBJECTS


@pytest.mark.parametrize("attribute", ["gender", "age", "skin_tone"])
def test_every_row_is_a_distribution_that_lets_every_value_happen(attribute: str) -> None:
    for row in load_truth().values():
        values = list(row[attribute].values())
        assert sum(values) == pytest.approx(1.0, abs=1e-9)
        assert min(values) > 0


def test_skews_depend_on_the_profession() -> None:
    truth = load_truth()
    assert truth["CEO"]["age"]["old"] > truth["person"]["age"]["old"] > truth["developer"]["age"]["old"]
    assert (
        truth["CEO"]["skin_tone"]["dark"] < truth["person"]["skin_tone"]["dark"] < truth["janitor"]["skin_tone"]["dark"]
    )


def test_judge_texts_name_every_value_in_the_order_of_the_probe_but_person_who_is_everybody() -> None:
    texts = judge_texts()
    told_apart = {name: tuple(v for v in values if v != "person") for name, values in ATTRIBUTES.items()}
    assert {name: tuple(values) for name, values in texts.items()} == told_apart
    assert set(texts) == set(ATTRIBUTES)
    assert texts["gender"] == {"female": "a photo of a woman", "male": "a photo of a man"}
    assert texts["profession"]["attendant"] == "a photo of an attendant"
    assert all(len(set(values.values())) == len(values) for values in texts.values())
