"""The report as files, read back by what would read them: a Markdown table's cells, an XML parser, an HTML parser."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scripts.core.model import Applies, Cell, Outcome, Result, TextPresence, Verdict
from scripts.report.pages import render
from scripts.report.presentation import LETTERS, group_cells
from scripts.verdicts.aggregate import CellReport, OptionalChecks, combine_cells
from scripts.verdicts.decide import Facts
from tests.scripts.report.test_terminal import (
    ABSORBED,
    CONFIGURABLE,
    FOLD,
    NEEDED,
    SENTENCE,
    UNTESTED,
    UNTRIED,
    feature,
    report,
    sent,
)

NASTY = "</script><b>|`a`|</b> & \x1b[31m \"quoted\" ]]> 'x'"

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Page(HTMLParser):
    """A page's elements in order, each with its attributes and the words inside it."""

    VOID = frozenset({"meta", "input", "link", "br"})

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert self.open == [], "elements that are never closed"

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), (
            f"an attribute twice in {tag}: {attrs}"
        )
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, words in self.open:
            words.append(data)

    def find(self, tag, **wanted):
        """Return the elements of a tag with these attributes, as pairs of attributes and words."""
        names = {name.rstrip("_").replace("_", "-"): value for name, value in wanted.items()}
        return [
            (attrs, " ".join(" ".join(words).split()))
            for kind, attrs, words in self.elements
            if kind == tag and all(attrs.get(name) == value for name, value in names.items())
        ]


@pytest.fixture
def page(full):
    return Page(render(full, "html"))


def nasty():
    """Return a report whose probes say what no markup survives."""
    facts = Facts(bare=Result(Outcome.FAILED, NASTY), try_series=False)
    skips = {"9@<new>": NASTY}
    return report(
        feature("a", facts, facts, notes=(NASTY,)),
        warnings=(NASTY,),
        skipped=skips,
        optional_checks=OptionalChecks(suite_failures=(NASTY,)),
    )


# One page


def test_page_asks_nobody_else_for_anything(full):
    text = render(full, "html")
    assert re.findall(r"https?://|//[a-z]|@import|url\(", text.split("<script>")[0]) == []
    assert [
        attrs
        for tag, attrs, _ in Page(text).elements
        if {"src", "srcset"} & attrs.keys() or tag == "link"
    ] == []


def test_every_letter_of_the_heat_map_leads_to_its_evidence(page, full):
    links = [attrs for attrs, _ in page.find("a") if "--" in attrs["href"]]
    assert len(links) == sum(len(item.releases) for item in full.features)
    ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
    assert sorted(set(ids)) == sorted(ids), "an id twice"
    assert {link["href"] for link in links} <= {f"#{name}" for name in ids}


def test_every_link_inside_a_page_leads_somewhere(full):
    def with_patch(item, name):
        patch = replace(item.feature.patch, id=name)
        return replace(item, feature=replace(item.feature, patch=patch))

    failed = Result(Outcome.FAILED, "test_sum: no sum")
    made = report(
        feature("one", UNTRIED, NEEDED),
        with_patch(feature("two", UNTRIED, NEEDED), "several"),
        with_patch(feature("three", UNTRIED, ABSORBED), "several"),
        versions={"plain": {"python": "3.11.7"}},
        skipped={"2@other": "it is not here"},
        optional_checks=OptionalChecks(
            failures_without={name: {"two": failed} for name in ("one", "several", "not-asked")},
            declared_dependencies={"one": (), "several": ("one",), "not-asked": ()},
        ),
    )
    for page in (Page(render(made, "html")), Page(render(full, "html"))):
        ids = [attrs["id"] for _, attrs, _ in page.elements if "id" in attrs]
        links = [attrs["href"] for attrs, _ in page.find("a")]
        assert {link for link in links if link.startswith("#")} <= {f"#{name}" for name in ids}
    rows = [words for _, words in Page(render(made, "html")).find("tr")]
    assert "one nothing nothing" in rows
    assert "several ( two , three ) one nothing" in rows
    assert "not-asked nothing nothing" in rows


def test_heat_map_is_read_without_colour(page):
    (attrs, letter), *_ = page.find("a", href="#three--2")
    assert (letter, attrs["aria-label"]) == ("c", "three on 2: configurable")
    legend = " ".join(words for _, words in page.find("li"))
    for name in ("needed", "absorbed", "configurable", "untested", "broken"):
        assert f"{LETTERS[name]} {name}" in legend


def test_two_verdicts_never_share_a_letter():
    assert len(set(LETTERS.values())) == len(LETTERS)


def test_cell_shows_its_columns_settings_and_the_command_to_run_it_again(page):
    ((attrs, cell),) = page.find(
        "li", class_="cell", data_verdict="configurable", data_release="2", data_server="redis6"
    )
    assert (attrs["data-environment"], cell) == ("plain", "2@plain@redis6")
    words = next(
        words
        for attrs, words in page.find("details")
        if "data-evidence" in attrs and "configurable" in words
    )
    assert "bare failed test_sum: two is not one" in words
    assert "bare with FOLD=True the control probe does not pass failed: test_hit: no hit" in words
    assert "settings: upstream's own" in words
    assert "nox -s cell -- 2@plain@redis6" in words


def test_cell_shows_what_is_installed():
    made = report(
        feature("one", UNTRIED, NEEDED), versions={"plain": {"python": "3.11.7", "django": "5.2.1"}}
    )
    page = Page(render(made, "html"))
    assert [words for _, words in page.find("a", href="#with-plain")] == [
        "2@plain@redis6",
        "1@plain@redis6",
    ]
    assert [words for _, words in page.find("dt", id="with-plain")] == ["plain"]
    assert [words for _, words in page.find("dd")] == ["Python 3.11.7, django 5.2.1"]


def test_cells_that_show_the_same_share_their_evidence_and_those_that_decide_come_first():
    cells = [
        CellReport(Cell("2", name, None), facts, verdict, "because", is_gating=decides)
        for name, facts, verdict, decides in (
            ("quiet", NEEDED, Verdict.BROKEN, False),
            ("a", NEEDED, Verdict.NEEDED, True),
            ("b", ABSORBED, Verdict.ABSORBED, True),
            ("c", NEEDED, Verdict.NEEDED, True),
        )
    ]
    at = combine_cells("2", cells, Applies.UNTRIED, TextPresence.UNKNOWN)
    found = group_cells(at, feature("one", NEEDED).feature, {"2@b": "it is not here"})
    assert [
        ([cell.environment for cell in group.cells], group.verdict, group.reason) for group in found
    ] == [
        (["a", "c"], Verdict.NEEDED, "because"),
        (["b"], Verdict.ABSORBED, "it is not here"),
        (["quiet"], Verdict.BROKEN, "because"),
    ]


def test_page_works_by_keyboard_on_a_phone_and_in_the_dark(page, full):
    assert page.find("meta", name="viewport", content="width=device-width, initial-scale=1")
    assert page.find("meta", name="color-scheme", content="light dark")
    text = render(full, "html")
    assert "prefers-color-scheme: dark" in text
    assert ":focus-visible" in text
    assert len(page.find("details")) == len(page.find("summary"))
    (region, _) = next(iter(page.find("div", class_="scroll")))
    assert (region["tabindex"], region["role"]) == ("0", "region")
    assert [
        attrs for tag, attrs, _ in page.elements if any(name.startswith("on") for name in attrs)
    ] == []


def test_page_without_script_hides_nothing_but_the_filter(page):
    hidden = [attrs.get("id") for _, attrs, _ in page.elements if "hidden" in attrs]
    assert hidden == ["filter"]


def test_axes_on_which_cells_differ_can_be_chosen(page):
    names = [attrs["name"] for attrs, _ in page.find("select")]
    assert names == ["release", "verdict"], "one environment and one server leave nothing to choose"


def test_page_says_of_each_patch_whether_it_can_go(page):
    sentences = [words for _, words in page.find("strong")]
    assert sentences == [
        "Cannot go: without it the series fails: test_sum: two is not one",
        "Can go: absorbed in 2.",
        "Can go: configurable since 2; on 2 with FOLD='all'; LONG=9.",
        "Not known: no cell here meets its requirements",
        "Somebody must look: fails with the series applied: the control probe does not pass: failed: test_hit: no hit",
    ]


@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on PATH")
def test_filter_in_a_browser_says_what_it_shows(full, tmp_path):
    choose = "<script>form.elements.verdict.value = 'needed'; form.dispatchEvent(new Event('input'));</script>"
    place = tmp_path / "page.html"
    place.write_text(render(full, "html").replace("</body>", f"{choose}</body>"))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        f"--user-data-dir={tmp_path / 'user'}",
    ]
    done = subprocess.run(
        [BROWSER, *options, "--dump-dom", place.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    shown = Page(done.stdout)
    links = {
        attrs["aria-label"]: (letter, "hidden" in attrs)
        for attrs, letter in shown.find("a")
        if "data-words" in attrs
    }
    assert links["one on 2: needed"] == ("N", False)
    assert links["two on 2: not shown"] == ("", True)
    assert [attrs["data-patch"] for attrs, _ in shown.find("section") if "hidden" not in attrs] == [
        "one",
        "two",
        "three",
    ]


def test_words_of_a_probe_are_no_html():
    page = Page(render(nasty(), "html"))
    assert page.find("b") == []
    assert len(page.find("script")) == 1
    assert any(
        '</script><b>|`a`|</b> & \x1b[31m "quoted" ]]>' in words for _, words in page.find("code")
    )


def test_page_begins_with_the_answer_and_the_next_command(page):
    answer, command = (words for _, words in page.find("p")[:2])
    assert answer == SENTENCE
    assert command == "next: nox -s status -- --patch five --why"


def test_newest_release_comes_first(page):
    assert [words for attrs, words in page.find("th") if "data-release" in attrs] == ["2", "1"]
    row = next(words for attrs, words in page.find("tr") if attrs.get("data-row") == "two")
    assert row == "two absorbed in 2 a N"
    evidence = [
        words
        for attrs, words in page.find("details")
        if "data-evidence" in attrs and " two " in words[:24]
    ]
    assert [words.split(" two ")[0] for words in evidence] == ["a absorbed on 2", "N needed on 1"]


def test_no_sentence_of_a_patch_stands_there_twice(full):
    shown = Page(render(full, "html"))
    for attrs, words in shown.find("section"):
        for sentence in (
            "test_sum: two is not one",
            "bare upstream fails",
            "bare upstream passes",
            "failed: test_hit: no hit",
        ):
            assert words.count(sentence) <= 1, (attrs, sentence)
    shown = Page(
        render(
            report(feature("one", NEEDED), advisory_modes={"a": "why not", "b": "why not"}), "html"
        )
    )
    assert " ".join(words for _, words in shown.find("p")).count("why not") == 1


# JUnit


def test_junit_counts_what_it_holds(full):
    root = ET.fromstring(render(full, "junit"))
    cases = root.findall("./testsuite/testcase")
    assert len(cases) == sum(len(at.cells) for item in full.features for at in item.releases)
    for element in (root, *root.findall("testsuite")):
        found = [len(element.findall(f".//{name}")) for name in ("testcase", "failure", "skipped")]
        assert [int(element.get(name)) for name in ("tests", "failures", "skipped")] == found
    assert [case.get("classname") for case in cases if case.find("failure") is not None] == ["five"]
    assert [case.get("classname") for case in cases if case.find("skipped") is not None] == [
        "four",
        "four",
    ]


def test_junit_holds_no_character_that_xml_forbids():
    root = ET.fromstring(render(nasty(), "junit"))
    words = root.findtext("./testsuite/testcase/system-out")
    assert words == f"needed: bare upstream fails: {NASTY} (series untried)".replace(
        "\x1b", "\ufffd"
    )
    assert root.find('./testsuite[@name="upstream\'s own tests"]').get("failures") == "1"


# Markdown


def test_markdown_is_one_table_a_state_with_a_column_a_release(full):
    lines = render(full, "markdown").splitlines()
    assert lines[:7] == [
        "# tally 2",
        "",
        f"**{SENTENCE}**",
        "",
        "Next: `nox -s status -- --patch five --why`",
        "",
        "No: bare tally 2 is not enough; 2 features stand in the way.",
    ]
    assert "| two | absorbed in 2 | `N` | `a` | Can go: absorbed in 2. |" in lines
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}


def test_words_of_a_probe_are_no_markdown():
    lines = render(nasty(), "markdown").splitlines()
    (row,) = [line for line in lines if line.startswith("| a |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    assert r"\</script\>\<b\>\|\`a\`\|\</b\>" in row


def test_left_out_and_dependencies_are_shown_in_every_form():
    failed = Result(Outcome.FAILED, "test_sum: no sum")
    without_hits = Result(
        Outcome.FAILED, "failed: test_hit: no hit", control=False, own="failed: test_all: none"
    )
    more = OptionalChecks(
        failures_without={"one": {"one": failed, "two": failed}, "two": {"two": without_hits}},
        declared_dependencies={"two": ()},
        actual_dependencies={"two": ("one",)},
        suite_failures=(),
        suite_runs=("2: plain, py: 5 of the 5 tests that pass bare",),
    )
    made = report(
        feature("one", UNTRIED, NEEDED), feature("two", UNTRIED, ABSORBED), optional_checks=more
    )
    assert "| two | nothing | one |" in render(made, "markdown")
    assert "| one | one, two |" in render(made, "markdown")
    assert r"| two | the control probe: failed: test\_hit: no hit |" in render(made, "markdown")
    rows = [words for _, words in Page(render(made, "html")).find("tr")]
    assert "two nothing one" in rows
    assert "one one, two one: test_sum: no sum two: test_sum: no sum" in rows
    assert (
        "two the control probe, so no other result counts: failed: test_hit: no hit "
        "1 feature, with the results of their own probes two: failed: test_all: none"
    ) in rows
    assert "2: plain, py: 5 of the 5 tests that pass bare" in [
        words for _, words in Page(render(made, "html")).find("li")
    ]


def test_forms_have_a_template_each():
    folder = Path(__file__).parents[3] / "scripts" / "report" / "templates"
    assert {path.name for path in folder.iterdir()} == {
        "report.md.j2",
        "report.html.j2",
        "report.xml.j2",
    }
    assert render(
        report(
            feature("one", CONFIGURABLE, CONFIGURABLE, settings=FOLD[0]),
            feature("x", UNTESTED, UNTESTED),
        ),
        "html",
    )


# Patches that were sent


def test_pages_say_whether_upstream_has_taken_a_patch(full):
    found = sent("two", full)
    note = "Forwarded: two (https://example.org/two): taken in 2"
    assert note in render(found, "markdown").splitlines()
    assert [words for _, words in Page(render(found, "html")).find("p") if note in words] == [
        f"{note}."
    ]
    bare = replace(found, smallest=())
    assert note in render(bare, "html"), "it is shown where nothing else is known of the series"
