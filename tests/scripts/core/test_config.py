"""What is wrong with a `fork.toml` is said with its key path and the near miss, all of it at once."""

import pydantic
import pytest

from scripts.core.config import Environment, did_you_mean, read_config
from scripts.core.errors import Exit, UsageError
from scripts.core.model import Cell, Lock, Release

GOOD = """\
[upstream]
name = "tally"
track = ">=1"

[overrides]
package = "extra"

[probes]
control = ["tests/probes/test_control.py"]

[[servers]]
id = "redis6"
command = ["redis-server", "{socket}"]
url = "unix://{socket}"

[[environments]]
id = "old"
python = "3.11"
releases = "<2"

[[environments]]
id = "new"
python = "3.12"
requires = ["six"]
releases = ">=2"
servers = ["redis6"]
"""


@pytest.fixture
def problems(tmp_path):
    """Return a function that changes the good file in some places and lists what is then wrong with it."""

    def find(*changes):
        text = GOOD
        for old, new in changes:
            assert text.count(old) >= 1, old
            text = text.replace(old, new, 1)
        (tmp_path / "fork.toml").write_text(text)
        with pytest.raises(UsageError) as error:
            read_config(tmp_path / "fork.toml")
        assert error.value.exit_code is Exit.USAGE
        assert error.value.hint == "edit fork.toml"
        title, *lines = error.value.message.splitlines()
        assert title == "fork.toml is wrong:"
        return [line.removeprefix("  - ") for line in lines]

    return find


def read(tmp_path, text=GOOD):
    """Read a configuration."""
    (tmp_path / "fork.toml").write_text(text)
    return read_config(tmp_path / "fork.toml")


def releases(*versions):
    """Return a lock on releases."""
    return Lock(
        "tally", versions[-1], tuple(Release(version, "", 0, "", None) for version in versions)
    )


def test_cells_are_releases_in_the_environments_and_servers_that_run_them(tmp_path):
    cells = read(tmp_path).default_cells(releases("1.0", "1.9rc1", "2.0"))
    assert cells == [
        Cell("1.0", "old", None),
        Cell("1.9rc1", "old", None),
        Cell("2.0", "new", "redis6"),
    ]
    assert [cell.id for cell in cells] == ["1.0@old", "1.9rc1@old", "2.0@new@redis6"]


def test_server_says_what_its_clients_need(tmp_path):
    text = GOOD.replace(
        'url = "unix', 'settings = { CLIENT = "many", RETRIES = 3 }\nurl = "unix', 1
    )
    server = read(tmp_path, text).server("redis6")
    assert str(server.settings) == "CLIENT='many'; RETRIES=3"
    assert hash(server) != hash(read(tmp_path).server("redis6"))


def test_environment_without_releases_runs_every_one(tmp_path):
    cells = read(tmp_path, GOOD.replace('releases = "<2"\n', "")).default_cells(
        releases("1.0", "2.0")
    )
    assert [cell.id for cell in cells] == ["1.0@old", "2.0@old", "2.0@new@redis6"]


def test_records_are_frozen(tmp_path):
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        read(tmp_path).upstream.name = "other"


def test_server_and_environment_are_found_by_name(tmp_path):
    config = read(tmp_path)
    assert config.environment("old") == Environment(id="old", python="3.11", releases="<2")
    assert config.server("redis6").url == "unix://{socket}"
    assert config.server(None) is None


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'track = ">=1"',
            'track = ">=1"\ntrak = 1',
            "upstream.trak: unknown key; did you mean track?",
        ),
        (
            'track = ">=1"',
            'track = ">=1"\nbeside = []',
            "upstream.beside: unknown key; it is called extra_servers now",
        ),
        (
            'track = ">=1"',
            'track = ">=1"\nzzz = 1',
            "upstream.zzz: unknown key; known: name, track, watch, index, prereleases, path",
        ),
        ("[upstream]", "[upstraem]\n[upstream]", "upstraem: unknown key; did you mean upstream?"),
        (
            'servers = ["redis6"]',
            'serves = ["redis6"]',
            "environments[1].serves: unknown key; did you mean servers?",
        ),
        (
            'url = "unix',
            'wheels = "a"\nurl = "unix',
            "servers[0].wheels: unknown key; did you mean wheel?",
        ),
    ],
)
def test_unknown_key_gets_its_path_and_the_near_miss(problems, old, new, problem):
    assert problems((old, new)) == [problem]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name = "tally"', "name = 7", "upstream.name: Input should be a valid string"),
        (
            'python = "3.11"',
            "python = 3.11",
            "environments[0].python: Input should be a valid string",
        ),
        (
            'python = "3.11"',
            'python = "py311"',
            r"environments[0].python: String should match pattern '^3\.\d+$'",
        ),
        ('["six"]', '"six"', "environments[1].requires: Input should be a valid tuple"),
        ('["six"]', '["six", 6]', "environments[1].requires[1]: Input should be a valid string"),
        ("[probes]", "[probes]\ntimeout = 0", "probes.timeout: Input should be greater than 0"),
        ("[probes]", "[probes]\ntimeout = true", "probes.timeout: Input should be a valid integer"),
        (
            'id = "old"',
            'id = "../old"',
            "environments[0].id: String should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$'",
        ),
        ('name = "tally"\n', "", "upstream.name: Field required"),
    ],
)
def test_wrong_type_or_form_gets_its_path(problems, old, new, problem):
    assert problems((old, new)) == [problem]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'track = ">=1"',
            'track = "newest"',
            "upstream.track: not a version specifier such as '>=7,<8': 'newest'",
        ),
        (
            'releases = "<2"',
            'releases = "=<2"',
            "environments[0].releases: not a version specifier such as '>=7,<8': '=<2'",
        ),
        (
            '["six"]',
            '["six=1"]',
            "environments[1].requires[0]: not a requirement such as 'Django==5.2.*': 'six=1'",
        ),
    ],
)
def test_bad_version_or_requirement(problems, old, new, problem):
    assert problems((old, new)) == [problem]


def test_unknown_server_gets_its_near_miss(problems):
    assert problems(('["redis6"]', '["redis7"]')) == [
        "environments[1].servers: no server 'redis7'; did you mean redis6?"
    ]
    assert problems(('["redis6"]', '["oracle"]')) == [
        "environments[1].servers: no server 'oracle'; known: redis6"
    ]
    beside = '[probes]\nextra_servers = [{ files = ["tests/probes/test_two.py"], server = "redis7", variable = "PROBE_SECOND_URL" }]'
    assert problems(("[probes]", beside)) == [
        "probes.extra_servers[0].server: no server 'redis7'; did you mean redis6?"
    ]


def test_address_beside_a_cells_own_has_a_variable_to_itself(problems):
    beside = '[probes]\nextra_servers = [{ files = ["tests/probes/test_two.py"], server = "redis6", variable = "PROBE_SERVER_URL" }]'
    assert problems(("[probes]", beside)) == [
        "probes.extra_servers[0].variable: PROBE_SERVER_URL is already used for a cell's own server"
    ]


def test_id_that_is_used_twice(problems):
    assert problems(('id = "old"', 'id = "new"')) == ["environments: id 'new' is used 2 times"]


def test_all_problems_are_listed_at_once(problems):
    found = problems(
        ('name = "tally"', "nam = 1"),
        ('track = ">=1"', 'track = "?"'),
        ('"3.12"', '"2"'),
        ('["redis6"]', '["redis7"]'),
    )
    assert found == [
        "upstream.name: Field required",
        "upstream.track: not a version specifier such as '>=7,<8': '?'",
        "upstream.nam: unknown key; did you mean name?",
        r"environments[1].python: String should match pattern '^3\.\d+$'",
    ], "names of servers are looked up once the types are right"
    assert len(problems(('id = "old"', 'id = "new"'), ('["redis6"]', '["redis7"]'))) == 2


def test_file_that_is_no_toml(tmp_path):
    with pytest.raises(UsageError, match=r"^fork.toml is not TOML: .*line 1"):
        read(tmp_path, "upstream = ]")


def test_file_that_is_no_text(tmp_path):
    (tmp_path / "fork.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"^fork.toml is not TOML: 'utf-8' codec"):
        read_config(tmp_path / "fork.toml")


def test_file_that_is_missing(tmp_path):
    with pytest.raises(UsageError) as error:
        read_config(tmp_path / "fork.toml")
    assert (
        str(error.value)
        == f"there is no fork.toml in {tmp_path}\n  next: run this in a fork, or give --repo DIR"
    )


def test_near_miss_lists_what_is_known_where_nothing_is_near():
    assert did_you_mean("seres", ["series", "bare"]) == "; did you mean series?"
    assert did_you_mean("x", ["series", "bare"]) == "; known: series, bare"


def test_names_of_the_gate_that_are_not_defined_are_told(problems):
    gate = """\
[django]
path = ["tests/django"]
excused = "excused.toml"
server = "redis7"
cells = [{ django = "5.2", environment = "odl", databases = ["sqlite", "postgresql"] }]

[[servers]]
"""
    assert problems(("[[servers]]\n", gate)) == [
        "django.server: no server 'redis7'; did you mean redis6?",
        "django.cells[0].environment: no environment 'odl'; did you mean old?",
        "django.cells[0].databases: no database 'postgresql'; known: sqlite",
    ]


def test_names_of_the_gate_of_faults_that_are_not_defined_are_told(problems):
    gate = """\
[chaos]
checker = "tests.chaos"
environment = "odl"
servers = ["redis6", "redis7"]
database = "postgresql"

[[servers]]
"""
    assert problems(("[[servers]]\n", gate)) == [
        "chaos.servers: no server 'redis7'; did you mean redis6?",
        "chaos.environment: no environment 'odl'; did you mean old?",
        "chaos.database: no database 'postgresql'; known: ",
    ]


def test_near_miss_of_many_names_is_short():
    cells = [
        f"{release}@py311-django{number}" for release in ("7.1", "7.2") for number in range(30)
    ]
    assert did_you_mean("7.2@py311-djang0", cells[30:]) == "; did you mean 7.2@py311-django0?"
    assert (
        did_you_mean("7.2", cells)
        == "; did you mean 7.2@py311-django0 or 7.2@py311-django1 or 7.2@py311-django2?"
    )
    assert did_you_mean("x", cells) == f"; known: {', '.join(cells[:10])}, and 50 more"


def test_names_that_are_known_are_there_once_and_the_nearest_is_first():
    known = ["upper-case", "trim-headings", "sorted-keys", "upper-case"]
    assert did_you_mean("keys", known) == "; known: sorted-keys, upper-case, trim-headings"
