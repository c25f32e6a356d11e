import inflection


def test_regular_word_gets_its_plural_and_back():
    assert inflection.pluralize("post") == "posts"
    assert inflection.singularize("posts") == "post"
