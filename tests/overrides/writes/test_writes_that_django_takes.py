"""What Django stores is stored with the cache on, without queries of the handlers', and lists that were read before follow."""

import django
import pytest

MODELS = """
from django.db import connection
from django.db.models import Case, F, Func, Subquery, Value, When

class Company(models.Model):
    num = models.IntegerField(default=0)
    code = models.CharField(max_length=20, unique=True, null=True)
    class Meta:
        app_label = "write_models"
    __module__ = "write_models.models"

class Desk(models.Model):
    company = models.OneToOneField(Company, models.CASCADE, null=True)
    note = models.CharField(max_length=20, default="")
    class Meta:
        app_label = "write_models"
    __module__ = "write_models.models"

class Shop(models.Model):
    owner = models.ForeignKey(Company, models.CASCADE, to_field="code", null=True)
    class Meta:
        app_label = "write_models"
    __module__ = "write_models.models"

class Club(models.Model):
    members = models.ManyToManyField(Company)
    class Meta:
        app_label = "write_models"
    __module__ = "write_models.models"

import write_models.models
for each in (Company, Desk, Shop, Club, Club.members.through):
    setattr(write_models.models, each.__name__, each)
with connection.schema_editor() as editor:
    for each in (Company, Desk, Shop, Club):
        editor.create_model(each)
top = lambda: Subquery(Company.objects.order_by("-num").annotate(n=F("num") + 1).values("n")[:1])
"""
ROWS = """
for each in (Desk, Shop, Club, Company):
    each.objects.all().delete()
one, two = (Company.objects.create(pk=n, num=n, code=str(n)) for n in (1, 2))
desk, club, shop = Desk.objects.create(pk=1, company=one), Club.objects.create(pk=1), Shop.objects.create(pk=1, owner=one)
club.members.add(one)
"""
NUMBERS = "sorted(Company.objects.values_list('num', flat=True))"
DESKS = "list(Desk.objects.order_by('pk').values_list('company', flat=True))"
MEMBERS = "sorted(club.members.values_list('num', flat=True))"

TAKEN = {
    "create with a subquery": ("Company.objects.create(num=top())", NUMBERS, [1, 2, 3]),
    "save with arithmetic": ("Company(num=top() + 1).save()", NUMBERS, [1, 2, 4]),
    "save over": ("one.num = top(); one.save()", NUMBERS, [2, 3]),
    "bulk_create": ("Company.objects.bulk_create([Company(num=top())])", NUMBERS, [1, 2, 3]),
    "bulk_update": (
        "one.num = top(); Company.objects.bulk_update([one], ['num'])",
        NUMBERS,
        [2, 3],
    ),
    "value": ("Company.objects.create(num=Value(7))", NUMBERS, [1, 2, 7]),
    "update_or_create": (
        "Company.objects.update_or_create(code='1', defaults={'num': top()})",
        NUMBERS,
        [2, 3],
    ),
    "invalidated_update": (
        "Company.objects.filter(num=1).invalidated_update(num=top())",
        NUMBERS,
        [2, 3],
    ),
    "object for an id": ("desk.company_id = two; desk.save()", DESKS, [2]),
    "object for an id in defaults": (
        "Desk.objects.update_or_create(pk=1, defaults={'company_id': two})",
        DESKS,
        [2],
    ),
    "deferred relation": (
        "each = Desk.objects.defer('company').get(); each.note = 'x'; each.save()",
        "list(Desk.objects.values_list('note', flat=True))",
        ["x"],
    ),
    "deletion of an object without its code": (
        "Company.objects.only('pk').get(code='2').delete()",
        NUMBERS,
        [1],
    ),
    "cleared members": ("club.members.clear()", MEMBERS, []),
    "added members": ("club.members.add(two.pk)", MEMBERS, [1, 2]),
    "removed members": ("club.members.remove(one)", MEMBERS, []),
}


@pytest.fixture
def process(start):
    process = start()
    process.execute(MODELS)
    process.execute(ROWS)
    return process


def test_write_that_django_takes_is_taken(process):
    for case, (write, read, after) in TAKEN.items():
        process.execute(ROWS)
        assert process.evaluate(read) != after, case
        assert process.is_hit(read), case
        process.execute(write)
        assert process.evaluate(read) == after, case
        assert process.is_hit(read), case


REFUSED = {
    "create": "Company.objects.create(num='no')",
    "save": "one.num = 'no'; one.save()",
    "update": "Company.objects.update(num='no')",
    "object of another class": "Desk(company=shop)",
}


def test_write_that_django_refuses_is_refused_as_by_django(process):
    for case, write in REFUSED.items():
        process.execute(
            f"raised = None\ntry:\n    {write}\nexcept ValueError as error:\n    raised = type(error).__name__"
        )
        assert process.evaluate("raised") == "ValueError", case
        assert process.evaluate(NUMBERS) == [1, 2], case


def test_handlers_ask_the_database_nothing(process):
    process.execute("each = Desk.objects.defer('company').get()")
    writes = [
        ("each.save()", "UPDATE", "desk", 0),
        ("club.members.clear()", "DELETE", "club_members", 0),
    ]
    for write, statement, table, selects in writes:
        ran = process.execute(write).queries
        assert [
            query.split()[0] for query in ran if query.startswith(("INSERT", "UPDATE", "DELETE"))
        ] == [statement]
        selected = [
            query
            for query in ran
            if query.startswith("SELECT") and f'FROM "write_models_{table}"' in query
        ]
        assert len(selected) == selects, ran


GIVEN = {
    "unsaved": "Company()",
    "with a subquery": "Company(pk=1, num=top(), code='1')",
    "with an object for an id": "Desk(pk=1, company_id=one)",
    "with a value that is none": "Company(pk=1, num='no', code='1')",
    "without fields": "Company.objects.only('pk').get(code='1')",
}


def test_any_object_can_be_invalidated(process):
    for case, given in GIVEN.items():
        read = (
            DESKS
            if "Desk" in given
            else "list(Company.objects.filter(num=1).values_list('num', flat=True))"
        )
        process.execute(f"given = {given}")
        process.evaluate(read)
        assert process.is_hit(read), case
        process.execute("invalidate_obj(given)")
        assert process.is_hit(read) is (case == "unsaved"), case


SIGNALS = {
    "m2m_changed": "sender=Club.members.through, instance=club, action=action, reverse=False, model=Company, pk_set=None",
    "m2m_changed of others": "sender=Club.members.through, instance=shop, action=action, reverse=True, model=Shop, pk_set={1}",
    "post_save": "sender=Desk, instance=Desk(), created=True, raw=True, update_fields=None",
    "post_delete": "sender=Company, instance=Company.objects.only('pk').get(code='2')",
}


def test_signal_that_is_sent_by_hand_reaches_no_handler_but_that_of_a_save(process):
    process.execute("from django.db.models import signals")
    for name, words in SIGNALS.items():
        for action in ("pre_clear", "post_clear", "post_add", "pre_remove"):
            process.execute(
                f"action = {action!r}; sent = signals.{name.split()[0]}.send({words}, using='default')"
            )
            assert process.evaluate("len(sent)") == (name == "post_save"), name


def test_post_migrate_without_an_alias_is_taken(start):
    process = start(CACHEOPS_ROVER_OUTBOX=True)
    process.execute(
        "from django.apps import apps; from django.db.models.signals import post_migrate; from django.db import connection"
    )
    process.execute(
        "config = apps.get_app_config('write_models'); sent = post_migrate.send(sender=config, app_config=config, verbosity=0)"
    )
    assert process.evaluate("'rover_outbox' in connection.introspection.table_names()") is True


COMPOSITE = """
class Line(models.Model):
    pk = models.CompositePrimaryKey("order", "number")
    order = models.IntegerField()
    number = models.IntegerField(db_column="num")
    text = models.CharField(max_length=20)
    class Meta:
        app_label = "write_models"
    __module__ = "write_models.models"

import write_models.models
from django.db import connection
write_models.models.Line = Line
with connection.schema_editor() as editor:
    editor.create_model(Line)
"""
LINES = """
Line.objects.all().delete()
lines = [Line.objects.create(order=1, number=n, text=text) for n, text in ((1, "a"), (2, "b"))]
"""
COMPOSITE_WRITES = [
    "Line.objects.filter(text='a').update(number=9)",
    "Line.objects.filter(text='a').update(order=9)",
    "Line.objects.filter(pk=(1, 1)).invalidated_update(number=9)",
]
FIRST = "list(Line.objects.order_by('{}').values_list('text', flat=True)[:1])"


@pytest.mark.skipif(django.VERSION < (5, 2), reason="composite keys came with Django 5.2")
def test_order_by_a_composite_key_follows_each_of_its_columns(start):
    process = start()
    process.execute(COMPOSITE)
    reads = [FIRST.format("pk"), FIRST.format("-pk")]
    for write in COMPOSITE_WRITES:
        process.execute(LINES)
        assert [process.evaluate(read) for read in reads] == [["a"], ["b"]], write
        assert all(map(process.is_hit, reads)), write
        process.execute(write)
        assert [process.evaluate(read) for read in reads] == [["b"], ["a"]], write
        process.execute("Line.objects.filter(text='b').update(text='b')")
        assert all(map(process.is_hit, reads)), write
