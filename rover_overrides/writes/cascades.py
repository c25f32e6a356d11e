"""What the database itself changes in other tables when a row is deleted.

This is Django 6.1's `on_delete=DB_CASCADE` and its variants.
"""

from __future__ import annotations

from typing import Any


def tables_of_database_cascades(model: Any) -> list[str]:
    """Return the tables whose rows the database deletes or changes along with a row of the model.

    Cascades are followed over any number of steps.
    """
    found: set[str] = set()
    left = [model._meta.concrete_model]
    seen = set(left)
    while left:
        for relation in _database_relations(left.pop()):
            related = relation.related_model._meta.concrete_model
            found.add(relation.field.model._meta.db_table)
            if relation.on_delete.operation == "CASCADE" and related not in seen:
                seen.add(related)
                left.append(related)
    return sorted(found)


def _database_relations(model: Any) -> list[Any]:
    relations = model._meta.get_fields(include_hidden=True)
    return [
        relation
        for relation in relations
        if relation.auto_created
        and not relation.concrete
        and (relation.one_to_many or relation.one_to_one)
        and hasattr(relation.on_delete, "on_delete_sql")
    ]
