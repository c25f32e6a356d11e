"""The kinds of writes. Each writes the next version of facts, groups, marks or tags, and publishes nothing itself."""

from collections.abc import Callable
from contextlib import contextmanager, suppress

from django.db import connection, transaction
from django.db.models import F
from facts.models import Fact, Group, Mark
from shapes import BITS, LABEL

NEVER = 10**6
"""What is added to versions that are rolled back: who reads one has read what was never committed."""

KINDS: dict[str, Callable] = {}


def kind(name):
    def register(function):
        KINDS[name] = function
        return function

    return register


class _RollBackError(Exception):
    pass


@contextmanager
def _rolled_back():
    """Roll back what the block does."""
    with suppress(_RollBackError), transaction.atomic():
        yield
        _roll_back()


def _roll_back():
    raise _RollBackError


def fields(version):
    """Return the columns of a fact that follow its version."""
    return {"version": version, "label": f"Label {version // LABEL}"}


def bits(version):
    """Return the keys of the tags that make a version."""
    return [bit + 1 for bit in range(BITS) if version >> bit & 1]


def _loaded(number, version):
    fact = Fact.objects.nocache().get(pk=number + 1)
    for name, value in fields(version).items():
        setattr(fact, name, value)
    return fact


@kind("save")
def _(w):
    number = w.fact()
    _loaded(number, w.next("fact", number)).save()


@kind("save of fields")
def _(w):
    number = w.fact()
    _loaded(number, w.next("fact", number)).save(update_fields=["version", "label"])


@kind("update")
def _(w):
    number = w.fact()
    Fact.objects.filter(pk=number + 1).update(**fields(w.next("fact", number)))


@kind("update by a condition")
def _(w):
    number = w.fact()
    version = w.next("fact", number)
    Fact.objects.filter(pk=number + 1, version__lt=version).update(**fields(version))


@kind("F()")
def _(w):
    number = w.fact()
    version = w.next("fact", number)
    Fact.objects.filter(pk=number + 1).update(
        version=F("version") + 1, label=fields(version)["label"]
    )


@kind("bulk_update")
def _(w):
    facts = [_loaded(number, w.next("fact", number)) for number in w.facts(3)]
    Fact.objects.bulk_update(facts, ["version", "label"])


@kind("group")
def _(w):
    number = w.group()
    if number is not None:
        Group.objects.filter(pk=number + 1).update(version=w.next("group", number))


@kind("save of a group")
def _(w):
    number = w.group()
    if number is not None:
        group = Group.objects.nocache().get(pk=number + 1)
        group.version = w.next("group", number)
        group.save()


@kind("save of a mark")
def _(w):
    number = w.fact()
    mark = Mark.objects.nocache().get(number=number)
    mark.version = w.next("mark", number)
    mark.save()


@kind("update_or_create")
def _(w):
    number = w.fact()
    Mark.objects.update_or_create(number=number, defaults={"version": w.next("mark", number)})


def _new_mark(w, number):
    return Mark(number=number, version=w.next("mark", number), fact_id=number + 1)


@kind("upsert")
def _(w):
    marks = [_new_mark(w, number) for number in w.facts(2)]
    Mark.objects.bulk_create(
        marks, update_conflicts=True, unique_fields=["number"], update_fields=["version"]
    )


@kind("delete and create")
def _(w):
    number = w.fact()
    with transaction.atomic():
        Mark.objects.filter(number=number).delete()
        _new_mark(w, number).save()


@kind("delete and bulk_create")
def _(w):
    numbers = w.facts(2)
    with transaction.atomic():
        for mark in Mark.objects.nocache().filter(number__in=numbers).order_by("number"):
            mark.delete()
        Mark.objects.bulk_create([_new_mark(w, number) for number in numbers])


@kind("raw")
def _(w):
    number = w.fact()
    _raw(w, number)


def _raw(w, number):
    found = fields(w.next("fact", number))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE facts_fact SET version = %s, label = %s WHERE id = %s",
            [*found.values(), number + 1],
        )


@kind("raw in atomic")
def _(w):
    number = w.fact()
    with transaction.atomic():
        _raw(w, number)


@kind("begun by hand")
def _(w):
    number = w.fact()
    with connection.cursor() as cursor, _closing():
        cursor.execute("BEGIN")
        Fact.objects.filter(pk=number + 1).update(**fields(w.next("fact", number)))
        cursor.execute("COMMIT")


@kind("atomic")
def _(w):
    number, group = w.fact(), w.group()
    with transaction.atomic():
        Fact.objects.filter(pk=number + 1).update(**fields(w.next("fact", number)))
        Mark.objects.filter(number=number).update(version=w.next("mark", number))
        if group is not None:
            Group.objects.filter(pk=group + 1).update(version=w.next("group", group))


@kind("nested atomic")
def _(w):
    number = w.fact()
    version = w.next("fact", number)
    row = Fact.objects.filter(pk=number + 1)
    with transaction.atomic():
        with _rolled_back():
            row.update(**fields(version + NEVER))
        with transaction.atomic():
            row.update(**fields(version))


@kind("rolled back")
def _(w):
    number = w.fact()
    with _rolled_back():
        Fact.objects.filter(pk=number + 1).update(version=NEVER * 2)


@kind("manual")
def _(w):
    number = w.fact()
    with _closing():
        transaction.set_autocommit(False)
        try:
            Fact.objects.filter(pk=number + 1).update(**fields(w.next("fact", number)))
            Mark.objects.filter(number=number).update(version=w.next("mark", number))
            transaction.commit()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)


@kind("m2m set")
def _(w):
    number = w.fact()
    Fact(pk=number + 1).tags.set(bits(w.next("tags", number)))


@kind("m2m clear and add")
def _(w):
    number = w.fact()
    with transaction.atomic():
        tags = Fact(pk=number + 1).tags
        tags.clear()
        tags.add(*bits(w.next("tags", number)))


@kind("under a lock")
def _(w):
    """Write a fact that others write, too."""
    number = w.random.randrange(w.shared)
    with transaction.atomic():
        fact = Fact.objects.nocache().select_for_update().get(pk=number + 1)
        fact.version = w.after("fact", number, fact.version)
        fact.label = fields(fact.version)["label"]
        fact.save()


@kind("under a lock, by a query")
def _(w):
    number = w.random.randrange(w.shared)
    with transaction.atomic():
        (before,) = (
            Fact.objects.nocache()
            .select_for_update()
            .filter(pk=number + 1)
            .values_list("version", flat=True)
        )
        Fact.objects.filter(pk=number + 1).update(**fields(w.after("fact", number, before)))


@contextmanager
def _closing():
    """Leave no connection behind that is in the middle of something."""
    try:
        yield
    except BaseException:
        connection.close()
        raise
