"""The shapes of reads: each yields what it asked for, the answer, and the answer that given versions would make.

What versions make of an answer only grows with them, so an answer must lie between what was published before the read and what
was intended after it. Conditions on versions are on steps of `STEP`, so that the same query is asked many times.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from board import FACTS, GROUPS, cell
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
    """What is read: of which fact or group, by a reader to whom these versions were published."""

    number: int
    noted: Sequence[int]
    random: Random

    @property
    def group(self):
        """The number of the fact's group."""
        return self.number % GROUPS

    @property
    def step(self):
        """A version that is a multiple of `STEP`: the last one or the next one of the fact."""
        return self.stepped("fact", self.number)

    def stepped(self, channel, number):
        return (self.noted[cell(channel, number)] // STEP + self.random.randrange(2)) * STEP


SHAPES: dict[str, Callable] = {}
TIMED = {"cached": TIMED_SECONDS}
"""Shapes that nothing invalidates: for how many seconds their answers may be old."""


def shape(name):
    def register(function):
        SHAPES[name] = function
        return function

    return register


def one(channel, number):
    """Return what versions make of the version of one row."""
    return lambda versions: versions[cell(channel, number)]


def total(channel, numbers):
    return lambda versions: sum(versions[cell(channel, number)] for number in numbers)


def reached(channel, numbers, version):
    """Return how many rows have reached a version."""
    return lambda versions: sum(versions[cell(channel, number)] >= version for number in numbers)


def members(group):
    """Return the numbers of the facts of a group; keys are one more."""
    return [number for number in range(FACTS) if number % GROUPS == group]


def rows(found, channel="fact", expected=()):
    """Yield each row that should be there."""
    versions = {pk - 1: version for pk, version in found}
    for number in expected or versions:
        yield f"{channel} {number}", versions.get(number, -1), one(channel, number)


def name(number):
    return f"Fact {number:02}"


@shape("by key")
def _(q):
    yield from rows(
        [(fact.pk, fact.version) for fact in Fact.objects.filter(pk=q.number + 1)],
        expected=[q.number],
    )


@shape("get")
def _(q):
    yield f"fact {q.number}", Fact.objects.get(pk=q.number + 1).version, one("fact", q.number)


@shape("by key, one at a time")
def _(q):
    found = Fact.objects.filter(pk=q.number + 1).cache(lock=True)
    yield from rows([(fact.pk, fact.version) for fact in found], expected=[q.number])


@shape("by name")
def _(q):
    yield from rows(
        [(fact.pk, fact.version) for fact in Fact.objects.filter(name=name(q.number))],
        expected=[q.number],
    )


@shape("without case")
def _(q):
    found = Fact.objects.filter(name__iexact=name(q.number).upper())
    yield from rows([(fact.pk, fact.version) for fact in found], expected=[q.number])


@shape("contains")
def _(q):
    found = Fact.objects.filter(name__contains=f" {q.number:02}")
    yield from rows([(fact.pk, fact.version) for fact in found], expected=[q.number])


@shape("through a foreign key")
def _(q):
    found = Fact.objects.filter(group__name=f"Group {q.group}")
    yield from rows([(fact.pk, fact.version) for fact in found], expected=members(q.group))


@shape("foreign row's version")
def _(q):
    step = q.stepped("group", q.group)
    found = Fact.objects.filter(pk=q.number + 1, group__version__gte=step).count()
    yield f"group {q.group} >= {step}", found, reached("group", [q.group], step)


@shape("count")
def _(q):
    step = q.step
    found = Fact.objects.filter(group_id=q.group + 1, version__gte=step).count()
    yield f"facts of group {q.group} >= {step}", found, reached("fact", members(q.group), step)


@shape("exists")
def _(q):
    step = q.step
    found = Fact.objects.filter(pk=q.number + 1, version__gte=step).exists()
    yield f"fact {q.number} >= {step}", int(found), reached("fact", [q.number], step)


@shape("aggregate")
def _(q):
    found = Mark.objects.aggregate(sum=Sum("version"), most=Max("version"))
    yield "all marks", found["sum"] or 0, total("mark", range(FACTS))
    yield (
        "newest mark",
        found["most"] or 0,
        lambda versions: max(versions[cell("mark", n)] for n in range(FACTS)),
    )


@shape("annotate")
def _(q):
    found = (
        Group.objects.filter(pk=q.group + 1)
        .annotate(total=Sum("facts__version"))
        .values_list("total", flat=True)
    )
    yield f"facts of group {q.group}", found[0], total("fact", members(q.group))


@shape("in")
def _(q):
    numbers = [q.number, (q.number + 1) % FACTS, (q.number + 5) % FACTS]
    found = Fact.objects.filter(pk__in=[number + 1 for number in numbers])
    yield from rows([(fact.pk, fact.version) for fact in found], expected=numbers)


@shape("in_bulk")
def _(q):
    found = Mark.objects.in_bulk([q.number], field_name="number")
    yield f"mark {q.number}", found[q.number].version if found else -1, one("mark", q.number)


@shape("subquery")
def _(q):
    groups = Group.objects.filter(version__gte=0, name=f"Group {q.group}")
    found = list(Mark.objects.filter(fact__in=Fact.objects.filter(group__in=groups)))
    yield (
        f"marks of group {q.group}",
        sum(mark.version for mark in found),
        total("mark", members(q.group)),
    )


@shape("values")
def _(q):
    found = Fact.objects.filter(group_id=q.group + 1).values("pk", "version")
    yield from rows([(row["pk"], row["version"]) for row in found], expected=members(q.group))


@shape("values_list")
def _(q):
    found = list(Mark.objects.filter(number=q.number).values_list("version", flat=True))
    yield f"mark {q.number}", found[0] if found else -1, one("mark", q.number)


@shape("slice")
def _(q):
    found = list(Fact.objects.order_by("-version", "pk")[:3])
    for place, fact in enumerate(found):
        yield (
            f"newest but {place}",
            fact.version,
            lambda versions, place=place: sorted(versions[:FACTS])[-1 - place],
        )


@shape("ordered")
def _(q):
    found = [
        fact.version for fact in Fact.objects.filter(group_id=q.group + 1).order_by("version", "pk")
    ]
    yield f"order of group {q.group}", int(found == sorted(found)), lambda _versions: 1
    yield f"facts of group {q.group}", sum(found), total("fact", members(q.group))


@shape("first")
def _(q):
    found = Fact.objects.filter(group_id=q.group + 1).order_by("-version").first()
    yield (
        f"newest of group {q.group}",
        found.version,
        lambda v: max(v[cell("fact", n)] for n in members(q.group)),
    )


@shape("prefetch")
def _(q):
    found = Group.objects.prefetch_related("facts__marks").get(pk=q.group + 1)
    yield f"group {q.group}", found.version, one("group", q.group)
    yield from rows(
        [(fact.pk, fact.version) for fact in found.facts.all()], expected=members(q.group)
    )
    marks = [mark.version for fact in found.facts.all() for mark in fact.marks.all()]
    yield f"marks of group {q.group}", sum(marks), total("mark", members(q.group))


@shape("select_related")
def _(q):
    found = Mark.objects.select_related("fact__group").get(number=q.number)
    yield f"mark {q.number}", found.version, one("mark", q.number)
    yield f"fact {q.number}", found.fact.version, one("fact", q.number)
    yield f"group {q.group}", found.fact.group.version, one("group", q.group)


@shape("related manager")
def _(q):
    found = Group(pk=q.group + 1).facts.all()
    yield from rows([(fact.pk, fact.version) for fact in found], expected=members(q.group))


@shape("m2m")
def _(q):
    found = Fact(pk=q.number + 1).tags.all()
    yield f"tags {q.number}", sum(1 << (tag.pk - 1) for tag in found), one("tags", q.number)


@shape("through m2m")
def _(q):
    found = Tag.objects.filter(facts__name=name(q.number)).values_list("pk", flat=True)
    yield f"tags {q.number}", sum(1 << (pk - 1) for pk in found), one("tags", q.number)


@shape("negation")
def _(q):
    step = q.step
    found = Fact.objects.exclude(version__lt=step).filter(group_id=q.group + 1)
    yield (
        f"facts of group {q.group} not < {step}",
        len(found),
        reached("fact", members(q.group), step),
    )


@shape("range")
def _(q):
    step = q.step
    found = Fact.objects.filter(version__range=(step, _FAR), pk=q.number + 1)
    yield f"fact {q.number} from {step}", len(found), reached("fact", [q.number], step)


@shape("condition left")
def _(q):
    label = q.noted[cell("fact", q.number)] // LABEL - q.random.randrange(2)
    found = Fact.objects.filter(label=f"Label {label}").values_list("pk", flat=True)
    gone = int(q.number + 1 not in found)
    yield (
        f"fact {q.number} without label {label}",
        gone,
        lambda v: int(v[cell("fact", q.number)] // LABEL > label),
    )


@shape("disjunction")
def _(q):
    step = q.step
    found = Fact.objects.filter(
        Q(pk=q.number + 1, version__gte=step) | Q(name=name((q.number + 1) % FACTS))
    )
    yield f"fact {q.number} >= {step}", len(found) - 1, reached("fact", [q.number], step)


@cached_as(Fact, Mark, timeout=60)
def _sums():
    return [
        sum(Fact.objects.nocache().values_list("version", flat=True)),
        sum(Mark.objects.nocache().values_list("version", flat=True)),
    ]


@shape("cached_as")
def _(q):
    facts, marks = _sums()
    yield "all facts", facts, total("fact", range(FACTS))
    yield "all marks", marks, total("mark", range(FACTS))


def _version(number):
    @cached_as(Fact.objects.filter(pk=number + 1), timeout=60, extra=number)
    def version():
        return Fact.objects.nocache().get(pk=number + 1).version

    return version


_versions = [_version(number) for number in range(FACTS)]


@shape("cached_as of one")
def _(q):
    yield f"fact {q.number}", _versions[q.number](), one("fact", q.number)


@cached(timeout=TIMED_SECONDS)
def _timed(number):
    return Fact.objects.nocache().get(pk=number + 1).version


@shape("cached")
def _(q):
    yield f"fact {q.number}", _timed(q.number), one("fact", q.number)


_FRAGMENT = "{% load cacheops %}{% cached_as facts 60 'fragment' group %}{% for f in facts %}{{ f.version }} {% endfor %}{% endcached_as %}"


@shape("fragment")
def _(q):
    facts = Fact.objects.filter(group_id=q.group + 1)
    text = engines["django"].from_string(_FRAGMENT).render({"facts": facts, "group": q.group})
    yield f"facts of group {q.group}", sum(map(int, text.split())), total("fact", members(q.group))
