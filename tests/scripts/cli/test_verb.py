"""What a verb says of words that it does not take."""

import pytest
from click.testing import CliRunner

from scripts.__main__ import cli


@pytest.mark.parametrize("verb", ["status", "matrix"])
def test_id_without_its_option_is_shown_with_it(verb):
    done = CliRunner().invoke(cli, [verb, "one-feature", "another"])
    assert done.exit_code == 2
    assert f"nox -s {verb} -- --patch one-feature --patch another" in done.output


def test_verb_that_takes_no_ids_names_the_extra_word():
    done = CliRunner().invoke(cli, ["wheel", "one-feature"])
    assert done.exit_code == 2
    assert "(one-feature)" in done.output
