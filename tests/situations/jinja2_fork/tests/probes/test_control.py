def test_value_is_rendered(render):
    assert render("Hello, {{ name }}", name="Ada") == "Hello, Ada"
