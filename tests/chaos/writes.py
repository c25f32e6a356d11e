"""The kinds of writes. Each writes the next version of facts, groups, marks or tags, and publishes nothing itself."""

from collections.abc import Callable
from contextlib import contextmanager, suppress

from django.db import connection, transaction
from django.db.models import F
from facts.models import Fact, Group, Mark
from reads import BITS, LABEL

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
def _(writer):
    number = writer.pick_fact()
    _loaded(number, writer.next_version("fact", number)).save()


@kind("save of fields")
def _(writer):
    number = writer.pick_fact()
    _loaded(number, writer.next_version("fact", number)).save(update_fields=["version", "label"])


@kind("update")
def _(writer):
    number = writer.pick_fact()
    Fact.objects.filter(pk=number + 1).update(**fields(writer.next_version("fact", number)))


@kind("update by a condition")
def _(writer):
    number = writer.pick_fact()
    version = writer.next_version("fact", number)
    Fact.objects.filter(pk=number + 1, version__lt=version).update(**fields(version))


@kind("F()")
def _(writer):
    number = writer.pick_fact()
    version = writer.next_version("fact", number)
    Fact.objects.filter(pk=number + 1).update(
        version=F("version") + 1, label=fields(version)["label"]
    )


@kind("bulk_update")
def _(writer):
    facts = [
        _loaded(number, writer.next_version("fact", number)) for number in writer.pick_facts(3)
    ]
    Fact.objects.bulk_update(facts, ["version", "label"])


@kind("group")
def _(writer):
    number = writer.pick_group()
    if number is not None:
        Group.objects.filter(pk=number + 1).update(version=writer.next_version("group", number))


@kind("save of a group")
def _(writer):
    number = writer.pick_group()
    if number is not None:
        group = Group.objects.nocache().get(pk=number + 1)
        group.version = writer.next_version("group", number)
        group.save()


@kind("save of a mark")
def _(writer):
    number = writer.pick_fact()
    mark = Mark.objects.nocache().get(number=number)
    mark.version = writer.next_version("mark", number)
    mark.save()


@kind("update_or_create")
def _(writer):
    number = writer.pick_fact()
    Mark.objects.update_or_create(
        number=number, defaults={"version": writer.next_version("mark", number)}
    )


def _new_mark(writer, number):
    return Mark(number=number, version=writer.next_version("mark", number), fact_id=number + 1)


@kind("upsert")
def _(writer):
    marks = [_new_mark(writer, number) for number in writer.pick_facts(2)]
    Mark.objects.bulk_create(
        marks, update_conflicts=True, unique_fields=["number"], update_fields=["version"]
    )


@kind("delete and create")
def _(writer):
    number = writer.pick_fact()
    with transaction.atomic():
        Mark.objects.filter(number=number).delete()
        _new_mark(writer, number).save()


@kind("delete and bulk_create")
def _(writer):
    numbers = writer.pick_facts(2)
    with transaction.atomic():
        for mark in Mark.objects.nocache().filter(number__in=numbers).order_by("number"):
            mark.delete()
        Mark.objects.bulk_create([_new_mark(writer, number) for number in numbers])


@kind("raw")
def _(writer):
    number = writer.pick_fact()
    _raw(writer, number)


def _raw(writer, number):
    found = fields(writer.next_version("fact", number))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE facts_fact SET version = %s, label = %s WHERE id = %s",
            [*found.values(), number + 1],
        )


@kind("raw in atomic")
def _(writer):
    number = writer.pick_fact()
    with transaction.atomic():
        _raw(writer, number)


@kind("begun by hand")
def _(writer):
    number = writer.pick_fact()
    with connection.cursor() as cursor, _closing():
        cursor.execute("BEGIN")
        Fact.objects.filter(pk=number + 1).update(**fields(writer.next_version("fact", number)))
        cursor.execute("COMMIT")


@kind("atomic")
def _(writer):
    number, group = writer.pick_fact(), writer.pick_group()
    with transaction.atomic():
        Fact.objects.filter(pk=number + 1).update(**fields(writer.next_version("fact", number)))
        Mark.objects.filter(number=number).update(version=writer.next_version("mark", number))
        if group is not None:
            Group.objects.filter(pk=group + 1).update(version=writer.next_version("group", group))


@kind("nested atomic")
def _(writer):
    number = writer.pick_fact()
    version = writer.next_version("fact", number)
    row = Fact.objects.filter(pk=number + 1)
    with transaction.atomic():
        with _rolled_back():
            row.update(**fields(version + NEVER))
        with transaction.atomic():
            row.update(**fields(version))


@kind("rolled back")
def _(writer):
    number = writer.pick_fact()
    with _rolled_back():
        Fact.objects.filter(pk=number + 1).update(version=NEVER * 2)


@kind("manual")
def _(writer):
    number = writer.pick_fact()
    with _closing():
        transaction.set_autocommit(False)
        try:
            Fact.objects.filter(pk=number + 1).update(**fields(writer.next_version("fact", number)))
            Mark.objects.filter(number=number).update(version=writer.next_version("mark", number))
            transaction.commit()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)


@kind("m2m set")
def _(writer):
    number = writer.pick_fact()
    Fact(pk=number + 1).tags.set(bits(writer.next_version("tags", number)))


@kind("m2m clear and add")
def _(writer):
    number = writer.pick_fact()
    with transaction.atomic():
        tags = Fact(pk=number + 1).tags
        tags.clear()
        tags.add(*bits(writer.next_version("tags", number)))


@kind("under a lock")
def _(writer):
    """Write a fact that others write, too."""
    number = writer.random.randrange(writer.shared)
    with transaction.atomic():
        fact = Fact.objects.nocache().select_for_update().get(pk=number + 1)
        fact.version = writer.version_after("fact", number, fact.version)
        fact.label = fields(fact.version)["label"]
        fact.save()


@kind("under a lock, by a query")
def _(writer):
    number = writer.random.randrange(writer.shared)
    with transaction.atomic():
        (before,) = (
            Fact.objects.nocache()
            .select_for_update()
            .filter(pk=number + 1)
            .values_list("version", flat=True)
        )
        Fact.objects.filter(pk=number + 1).update(
            **fields(writer.version_after("fact", number, before))
        )


@contextmanager
def _closing():
    """Leave no connection behind that is in the middle of something."""
    try:
        yield
    except BaseException:
        connection.close()
        raise
