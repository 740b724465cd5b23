from hspace_exp.avatars.probe import ATTRIBUTES
from hspace_exp.avatars.texts import judge_texts


def test_judge_texts_name_every_value_in_the_order_of_the_probe_but_person_who_is_everybody() -> None:
    texts = judge_texts()
    told_apart = {name: tuple(v for v in values if v != "person") for name, values in ATTRIBUTES.items()}
    assert {name: tuple(values) for name, values in texts.items()} == told_apart
    assert set(texts) == set(ATTRIBUTES)
    assert texts["gender"] == {"female": "a photo of a woman", "male": "a photo of a man"}
    assert texts["profession"]["attendant"] == "a photo of an attendant"
    assert all(len(set(values.values())) == len(values) for values in texts.values())
