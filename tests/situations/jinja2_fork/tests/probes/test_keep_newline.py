def test_last_newline_is_kept(render):
    assert render("a\n") == "a\n"
