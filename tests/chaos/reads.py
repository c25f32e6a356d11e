"""The queries: each yields what it asked for, the answer, and the answer that given versions would make.

What versions make of an answer only grows with them, so an answer must lie between what was published before the read and what
was intended after it. Conditions on versions are on steps of `STEP`, so that the same query is asked many times.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from board import FACTS, GROUPS, version_index
from cacheops import cached, cached_as
from django.db.models import Max, Q, Sum
from django.template import engines
from facts.models import Fact, Group, Mark, Tag

STEP = 32
LABEL = 16  # versions for which a label stays
TIMED_SECONDS = 2
BITS = 24
_FAR = 10**12


@dataclass
class Question:
    """What is read: of which fact or group, by a reader to whom these versions were published.

    `intended` returns the versions that writers have begun to write by now.
    """

    number: int
    noted: Sequence[int]
    random: Random
    intended: Callable[[], Sequence[int]]

    @property
    def group(self):
        """The number of the fact's group."""
        return self.number % GROUPS

    @property
    def step(self):
        """A version that is a multiple of `STEP`: the last one or the next one of the fact."""
        return self.stepped("fact", self.number)

    def stepped(self, channel, number):
        return (
            self.noted[version_index(channel, number)] // STEP + self.random.randrange(2)
        ) * STEP


QUERIES: dict[str, Callable] = {}
TIMED = {"cached": TIMED_SECONDS}
"""Queries whose results nothing invalidates: for how many seconds their answers may be old."""


def query(name):
    def register(function):
        QUERIES[name] = function
        return function

    return register


def one(channel, number):
    """Return what versions make of the version of one row."""
    return lambda versions: versions[version_index(channel, number)]


def total(channel, numbers):
    return lambda versions: sum(versions[version_index(channel, number)] for number in numbers)


def reached(channel, numbers, version):
    """Return how many rows have reached a version."""
    return lambda versions: sum(
        versions[version_index(channel, number)] >= version for number in numbers
    )


def facts_of_group(group):
    """Return the numbers of the facts of a group; keys are one more."""
    return [number for number in range(FACTS) if number % GROUPS == group]


def rows(found, channel="fact", expected=()):
    """Yield each row that should be there."""
    versions = {pk - 1: version for pk, version in found}
    for number in expected or versions:
        yield f"{channel} {number}", versions.get(number, -1), one(channel, number)


def name(number):
    return f"Fact {number:02}"


@query("by key")
def _(question):
    yield from rows(
        [(fact.pk, fact.version) for fact in Fact.objects.filter(pk=question.number + 1)],
        expected=[question.number],
    )


@query("get")
def _(question):
    yield (
        f"fact {question.number}",
        Fact.objects.get(pk=question.number + 1).version,
        one("fact", question.number),
    )


@query("by key, one at a time")
def _(question):
    found = Fact.objects.filter(pk=question.number + 1).cache(lock=True)
    yield from rows([(fact.pk, fact.version) for fact in found], expected=[question.number])


@query("by name")
def _(question):
    yield from rows(
        [(fact.pk, fact.version) for fact in Fact.objects.filter(name=name(question.number))],
        expected=[question.number],
    )


@query("without case")
def _(question):
    found = Fact.objects.filter(name__iexact=name(question.number).upper())
    yield from rows([(fact.pk, fact.version) for fact in found], expected=[question.number])


@query("contains")
def _(question):
    found = Fact.objects.filter(name__contains=f" {question.number:02}")
    yield from rows([(fact.pk, fact.version) for fact in found], expected=[question.number])


@query("through a foreign key")
def _(question):
    found = Fact.objects.filter(group__name=f"Group {question.group}")
    yield from rows(
        [(fact.pk, fact.version) for fact in found], expected=facts_of_group(question.group)
    )


@query("foreign row's version")
def _(question):
    step = question.stepped("group", question.group)
    found = Fact.objects.filter(pk=question.number + 1, group__version__gte=step).count()
    yield f"group {question.group} >= {step}", found, reached("group", [question.group], step)


@query("count")
def _(question):
    step = question.step
    found = Fact.objects.filter(group_id=question.group + 1, version__gte=step).count()
    yield (
        f"facts of group {question.group} >= {step}",
        found,
        reached("fact", facts_of_group(question.group), step),
    )


@query("exists")
def _(question):
    step = question.step
    found = Fact.objects.filter(pk=question.number + 1, version__gte=step).exists()
    yield f"fact {question.number} >= {step}", int(found), reached("fact", [question.number], step)


@query("aggregate")
def _(question):
    found = Mark.objects.aggregate(sum=Sum("version"), most=Max("version"))
    yield "all marks", found["sum"] or 0, total("mark", range(FACTS))
    yield (
        "newest mark",
        found["most"] or 0,
        lambda versions: max(versions[version_index("mark", n)] for n in range(FACTS)),
    )


@query("annotate")
def _(question):
    found = (
        Group.objects.filter(pk=question.group + 1)
        .annotate(total=Sum("facts__version"))
        .values_list("total", flat=True)
    )
    yield (
        f"facts of group {question.group}",
        found[0],
        total("fact", facts_of_group(question.group)),
    )


@query("in")
def _(question):
    numbers = [question.number, (question.number + 1) % FACTS, (question.number + 5) % FACTS]
    found = Fact.objects.filter(pk__in=[number + 1 for number in numbers])
    yield from rows([(fact.pk, fact.version) for fact in found], expected=numbers)


@query("in_bulk")
def _(question):
    found = Mark.objects.in_bulk([question.number], field_name="number")
    yield (
        f"mark {question.number}",
        found[question.number].version if found else -1,
        one("mark", question.number),
    )


@query("subquery")
def _(question):
    groups = Group.objects.filter(version__gte=0, name=f"Group {question.group}")
    found = list(Mark.objects.filter(fact__in=Fact.objects.filter(group__in=groups)))
    yield (
        f"marks of group {question.group}",
        sum(mark.version for mark in found),
        total("mark", facts_of_group(question.group)),
    )


@query("values")
def _(question):
    found = Fact.objects.filter(group_id=question.group + 1).values("pk", "version")
    yield from rows(
        [(row["pk"], row["version"]) for row in found], expected=facts_of_group(question.group)
    )


@query("values_list")
def _(question):
    found = list(Mark.objects.filter(number=question.number).values_list("version", flat=True))
    yield f"mark {question.number}", found[0] if found else -1, one("mark", question.number)


@query("slice")
def _(question):
    found = list(Fact.objects.order_by("-version", "pk")[:3])
    for place, fact in enumerate(found):
        yield (
            f"newest but {place}",
            fact.version,
            lambda versions, place=place: sorted(versions[:FACTS])[-1 - place],
        )


@query("ordered")
def _(question):
    found = [
        fact.version
        for fact in Fact.objects.filter(group_id=question.group + 1).order_by("version", "pk")
    ]
    yield f"order of group {question.group}", int(found == sorted(found)), lambda _versions: 1
    yield (
        f"facts of group {question.group}",
        sum(found),
        total("fact", facts_of_group(question.group)),
    )


@query("first")
def _(question):
    found = Fact.objects.filter(group_id=question.group + 1).order_by("-version").first()
    yield (
        f"newest of group {question.group}",
        found.version,
        lambda v: max(v[version_index("fact", n)] for n in facts_of_group(question.group)),
    )


@query("prefetch")
def _(question):
    found = Group.objects.prefetch_related("facts__marks").get(pk=question.group + 1)
    yield f"group {question.group}", found.version, one("group", question.group)
    yield from rows(
        [(fact.pk, fact.version) for fact in found.facts.all()],
        expected=facts_of_group(question.group),
    )
    marks = [mark.version for fact in found.facts.all() for mark in fact.marks.all()]
    yield (
        f"marks of group {question.group}",
        sum(marks),
        total("mark", facts_of_group(question.group)),
    )


@query("select_related")
def _(question):
    found = Mark.objects.select_related("fact__group").get(number=question.number)
    yield f"mark {question.number}", found.version, one("mark", question.number)
    yield f"fact {question.number}", found.fact.version, one("fact", question.number)
    yield f"group {question.group}", found.fact.group.version, one("group", question.group)


@query("related manager")
def _(question):
    found = Group(pk=question.group + 1).facts.all()
    yield from rows(
        [(fact.pk, fact.version) for fact in found], expected=facts_of_group(question.group)
    )


@query("m2m")
def _(question):
    found = Fact(pk=question.number + 1).tags.all()
    yield (
        f"tags {question.number}",
        sum(1 << (tag.pk - 1) for tag in found),
        one("tags", question.number),
    )


@query("through m2m")
def _(question):
    found = Tag.objects.filter(facts__name=name(question.number)).values_list("pk", flat=True)
    yield (
        f"tags {question.number}",
        sum(1 << (pk - 1) for pk in found),
        one("tags", question.number),
    )


@query("negation")
def _(question):
    step = question.step
    found = Fact.objects.exclude(version__lt=step).filter(group_id=question.group + 1)
    yield (
        f"facts of group {question.group} not < {step}",
        len(found),
        reached("fact", facts_of_group(question.group), step),
    )


@query("range")
def _(question):
    step = question.step
    found = Fact.objects.filter(version__range=(step, _FAR), pk=question.number + 1)
    yield (
        f"fact {question.number} from {step}",
        len(found),
        reached("fact", [question.number], step),
    )


@query("condition left")
def _(question):
    """A row has a label for a while: 0 before it has it, 1 while it has it, 2 after it."""

    def state(versions):
        at = versions[version_index("fact", question.number)] // LABEL
        return (at >= label) + (at > label)

    label = question.noted[
        version_index("fact", question.number)
    ] // LABEL - question.random.randrange(2)
    found = Fact.objects.filter(label=f"Label {label}").values_list("pk", flat=True)
    # A row that is not there has lost the label, or does not have it yet if it cannot have lost it.
    has_left = state(question.intended()) == 2
    got = 1 if question.number + 1 in found else 2 if has_left else 0
    yield f"fact {question.number} with label {label}", got, state


@query("disjunction")
def _(question):
    step = question.step
    found = Fact.objects.filter(
        Q(pk=question.number + 1, version__gte=step) | Q(name=name((question.number + 1) % FACTS))
    )
    yield (
        f"fact {question.number} >= {step}",
        len(found) - 1,
        reached("fact", [question.number], step),
    )


@cached_as(Fact, Mark, timeout=60)
def _sums():
    return [
        sum(Fact.objects.nocache().values_list("version", flat=True)),
        sum(Mark.objects.nocache().values_list("version", flat=True)),
    ]


@query("cached_as")
def _(question):
    facts, marks = _sums()
    yield "all facts", facts, total("fact", range(FACTS))
    yield "all marks", marks, total("mark", range(FACTS))


def _version(number):
    @cached_as(Fact.objects.filter(pk=number + 1), timeout=60, extra=number)
    def version():
        return Fact.objects.nocache().get(pk=number + 1).version

    return version


_versions = [_version(number) for number in range(FACTS)]


@query("cached_as of one")
def _(question):
    yield f"fact {question.number}", _versions[question.number](), one("fact", question.number)


@cached(timeout=TIMED_SECONDS)
def _timed(number):
    return Fact.objects.nocache().get(pk=number + 1).version


@query("cached")
def _(question):
    yield f"fact {question.number}", _timed(question.number), one("fact", question.number)


_FRAGMENT = "{% load cacheops %}{% cached_as facts 60 'fragment' group %}{% for f in facts %}{{ f.version }} {% endfor %}{% endcached_as %}"


@query("fragment")
def _(question):
    facts = Fact.objects.filter(group_id=question.group + 1)
    text = (
        engines["django"].from_string(_FRAGMENT).render({"facts": facts, "group": question.group})
    )
    yield (
        f"facts of group {question.group}",
        sum(map(int, text.split())),
        total("fact", facts_of_group(question.group)),
    )
