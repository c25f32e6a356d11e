import inflection


def test_phrase_that_ends_in_uncountable_word_stays():
    assert inflection.pluralize("red fish") == "red fish"


def test_uncountable_word_stays():
    assert inflection.pluralize("Fish") == "Fish"


def test_other_phrase_gets_its_plural():
    assert inflection.pluralize("red dog") == "red dogs"
