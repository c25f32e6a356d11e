def test_items_of_a_mapping(render):
    assert (
        render("{% for key, value in ages|items %}{{ key }}{{ value }}{% endfor %}", ages={"a": 1})
        == "a1"
    )
