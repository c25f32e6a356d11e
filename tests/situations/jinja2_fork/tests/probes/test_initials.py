def test_name_is_shortened(render):
    assert render("{{ name|initials }}", name="Ada Lovelace") == "AL"
