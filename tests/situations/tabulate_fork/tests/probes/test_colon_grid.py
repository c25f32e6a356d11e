def test_format_is_known():
    import tabulate

    assert "colon_grid" in tabulate.tabulate_formats
