"""The names that the source of a step may use: write statements, values, expressions and models."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.db.models import functions
from django.db.models.expressions import RawSQL
from oracle import reads
from oracle.rover import models as rover

Row = tuple[str, Any]


class UndoneError(Exception):
    """Ends a transaction that is to be rolled back."""


class TouchedRows:
    """The rows that statements wrote, changed or not; those of a rolled back transaction do not count."""

    def __init__(self) -> None:
        self._levels: list[set[Row]] = [set()]

    def add(self, model: Any, *pks: Any) -> None:
        """Enter rows of a model and of the tables that it inherits from."""
        tables = [
            model._meta.concrete_model._meta.db_table,
            *(parent._meta.db_table for parent in model._meta.get_parent_list()),
        ]
        self._levels[-1].update((table, pk) for table in tables for pk in pks)

    def pop_all(self) -> set[Row]:
        """Return what was entered since the last time."""
        found, self._levels = self._levels[0], [set()]
        return found

    @contextmanager
    def scoped(self) -> Iterator[None]:
        """Forget what is entered inside if it ends with an error."""
        self._levels.append(set())
        try:
            yield
        except BaseException:
            self._levels.pop()
            raise
        found = self._levels.pop()
        self._levels[-1] |= found


class WriteSteps:
    """The statements that write, each of which enters the rows that it touches."""

    def __init__(self, touched: TouchedRows) -> None:
        self.touched = touched
        self.loaded_instances: dict[Any, Any] = {}

    def names(self) -> dict[str, Any]:
        """Return the statements by their names."""
        return {
            name: getattr(self, name)
            for name in vars(WriteSteps)
            if not name.startswith("_") and name != "names"
        }

    def create(self, model: Any, **values: Any) -> None:
        self.touched.add(model, model.objects.create(**values).pk)

    def save(self, model: Any, pk: int, **values: Any) -> None:
        self._store(model.objects.nocache().get(pk=pk), values)

    def save_read(self, model: Any, pk: int, **values: Any) -> None:
        """Save what was read through the cache."""
        self._store(model.objects.get(pk=pk), values)

    def save_held(self, model: Any, pk: int, **values: Any) -> None:
        """Save an instance that may have been read long ago."""
        if (model, pk) not in self.loaded_instances:
            self.loaded_instances[model, pk] = model.objects.nocache().get(pk=pk)
        self._store(self.loaded_instances[model, pk], values)

    def save_fields(self, model: Any, pk: int, **values: Any) -> None:
        names = [model._meta.get_field(name).name for name in values]
        self._store(model.objects.nocache().get(pk=pk), values, update_fields=names)

    def save_only(self, model: Any, pk: int, only: tuple[str, ...], **values: Any) -> None:
        self._store(model.objects.nocache().only(*only).get(pk=pk), values)

    def delete(self, model: Any, pk: int) -> None:
        model.objects.nocache().get(pk=pk).delete()

    def delete_only(self, model: Any, pk: int) -> None:
        model.objects.nocache().only("pk").get(pk=pk).delete()

    def delete_all(self, queryset: Any) -> None:
        queryset.delete()

    def update(self, queryset: Any, **values: Any) -> None:
        self._matched(queryset)
        queryset.update(**values)

    def invalidated(self, queryset: Any, **values: Any) -> None:
        self._matched(queryset)
        queryset.invalidated_update(**values)

    def bulk_create(self, model: Any, values: list[dict[str, Any]]) -> None:
        self.touched.add(
            model,
            *(made.pk for made in model.objects.bulk_create([model(**row) for row in values])),
        )

    def bulk_ignore(self, model: Any, values: list[dict[str, Any]]) -> None:
        model.objects.bulk_create([model(**row) for row in values], ignore_conflicts=True)

    def bulk_upsert(self, model: Any, values: list[dict[str, Any]]) -> None:
        names = sorted(
            {
                model._meta.get_field(name).name
                for name in set.intersection(*map(set, values)) - {"pk"}
            }
        )
        rows = [model(**row) for row in values]
        model.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=["id"], update_fields=names
        )
        self.touched.add(model, *(row["pk"] for row in values))

    def bulk_update(self, model: Any, pks: list[int], **values: Any) -> None:
        found = list(model.objects.nocache().filter(pk__in=pks))
        for instance in found:
            vars(instance).update(values)
        model.objects.bulk_update(found, [model._meta.get_field(name).name for name in values])
        self.touched.add(model, *(instance.pk for instance in found))

    def overwrite(self, model: Any, **values: Any) -> None:
        """Save a new instance under a key that may be taken."""
        made = model(**values)
        made.save()
        self.touched.add(model, made.pk)

    def get_or_create(self, model: Any, pk: int, **values: Any) -> None:
        model.objects.get_or_create(pk=pk, defaults=values)

    def update_or_create(self, model: Any, pk: int, **values: Any) -> None:
        model.objects.update_or_create(pk=pk, defaults=values)
        self.touched.add(model, pk)

    def linked(
        self, model: Any, pk: int, name: str, how: str, pks: list[int] | None = None
    ) -> None:
        """Change the rows behind a relation."""
        manager = getattr(model.objects.nocache().get(pk=pk), name)
        related = [] if pks is None else list(manager.model.objects.nocache().filter(pk__in=pks))
        if how == "clear":
            manager.clear()
        elif how == "set":
            manager.set(related)
        else:
            getattr(manager, how)(*related)

    def _store(self, instance: Any, values: dict[str, Any], **how: Any) -> None:
        for name, value in values.items():
            setattr(instance, name, value)
        instance.save(**how)
        self.touched.add(type(instance), instance.pk)

    def _matched(self, queryset: Any) -> None:
        """Enter what an update matches, outside of transactions, where one more SELECT changes nothing."""
        if transaction.get_connection().in_atomic_block or not transaction.get_autocommit():
            return
        with reads.cache_off():
            self.touched.add(queryset.model, *queryset.values_list("pk", flat=True))


@contextmanager
def rolled_back(touched: TouchedRows) -> Iterator[None]:
    """Roll the transaction or savepoint of the body back."""
    with contextlib.suppress(UndoneError), touched.scoped(), transaction.atomic():
        yield
        raise UndoneError


@contextmanager
def committed(touched: TouchedRows) -> Iterator[None]:
    """Commit the transaction or savepoint of the body."""
    with touched.scoped(), transaction.atomic():
        yield


@contextmanager
def committed_by_hand(touched: TouchedRows) -> Iterator[None]:
    """Let the body commit by hand."""
    if transaction.get_connection().in_atomic_block:
        yield
        return
    transaction.set_autocommit(False)
    try:
        with touched.scoped():
            yield
            transaction.commit()
    except BaseException:
        transaction.rollback()
        raise
    finally:
        transaction.set_autocommit(True)


def end_transaction() -> None:
    """End what a refused step may have left open."""
    connection = transaction.get_connection()
    if not connection.in_atomic_block and not transaction.get_autocommit():
        transaction.rollback()
        transaction.set_autocommit(True)


def instance_of_key(model: Any, pk: int) -> Any:
    """Return an instance known by its key alone, to reach its managers."""
    instance = model(pk=pk)
    instance._state.adding, instance._state.db = False, "default"
    return instance


def names() -> dict[str, Any]:
    """Return the names for values, expressions and models."""
    expressions = [
        "Q",
        "F",
        "Value",
        "Count",
        "Sum",
        "Max",
        "Case",
        "When",
        "Exists",
        "Subquery",
        "OuterRef",
        "FilteredRelation",
    ]
    found: dict[str, Any] = {name: getattr(models, name) for name in expressions}
    found |= {name: getattr(functions, name) for name in ("Lower", "Upper", "Length", "Coalesce")}
    found |= {model.__name__: model for model in rover.MODELS}
    found |= {name: getattr(dt, name) for name in ("date", "time", "timedelta")}
    more: dict[str, Callable[..., Any]] = {
        "at": dt.datetime.fromisoformat,
        "the": instance_of_key,
        "commit": transaction.commit,
    }
    return (
        found
        | more
        | {
            "RawSQL": RawSQL,
            "Decimal": Decimal,
            "UUID": UUID,
            "Mood": rover.Mood,
            "on_commit": transaction.on_commit,
        }
    )
