def test_format_is_known():
    import tabulate

    assert "github" in tabulate.tabulate_formats
