import inflection


def test_passerby_has_its_plural_in_the_middle():
    assert inflection.pluralize("passerby") == "passersby"


def test_passersby_has_a_singular():
    assert inflection.singularize("passersby") == "passerby"
