import json

import pytest

from devices.errors import Permanent
from devices.states import EquipmentState, RobotState, SpaceState
from devices.words import LANGUAGES, WORDS_FOLDER, best_language, catalogue, placeholders, say


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_catalogue_has_the_same_keys_and_placeholders(language: str) -> None:
    english, other = catalogue("en"), catalogue(language)

    assert other.keys() == english.keys()
    assert {key for key in english if placeholders(other[key]) != placeholders(english[key])} == set()
    assert all(text.strip() for text in other.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_is_sorted_and_names_each_key_once(language: str) -> None:
    pairs = json.loads((WORDS_FOLDER / f"{language}.json").read_text("utf-8"), object_pairs_hook=list)
    keys = [key for key, _ in pairs]

    assert keys == sorted(set(keys))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_has_a_word(language: str) -> None:
    for group, states in (("equipment", EquipmentState), ("robot", RobotState), ("space", SpaceState)):
        for state in states:
            assert say(language, f"state.{group}.{state}")


def test_a_missing_word_or_parameter_is_a_fault_that_names_itself() -> None:
    with pytest.raises(Permanent, match=r"no words for 'nothing\.here' in en"):
        say("en", "nothing.here")
    with pytest.raises(Permanent, match="no words in 'tlh'"):
        say("tlh", "state.space.free")


def test_parameters_fill_placeholders() -> None:
    key = next((key for key, text in catalogue("en").items() if placeholders(text)), None)
    if key is None:
        pytest.skip("no text has a placeholder yet")
    filled = say("en", key, **dict.fromkeys(placeholders(catalogue("en")[key]), "#7"))

    assert "#7" in filled
    with pytest.raises(Permanent, match="need the parameter"):
        say("en", key)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"), ("zh", "zh-CN"), ("de,en-GB", "en"), ("", "en"), ("*", "en")],
)
def test_the_readers_language_is_found(accepted: str, language: str) -> None:
    assert best_language(accepted) == language
