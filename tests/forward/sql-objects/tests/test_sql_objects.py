from django.db import connection, transaction
from django.test import SimpleTestCase, TransactionTestCase

from cacheops import invalidate_all
from cacheops.transaction import is_sql_dirty, transaction_states

from .models import Category


class Composed(object):
    """Stands for what a driver composes of several pieces, such as psycopg.sql.Composed."""
    def __init__(self, text):
        self.text = text

    def as_string(self, context):
        return self.text


class Opaque(object):
    """A statement that only the driver can read."""


class SqlObjectTests(SimpleTestCase):
    def test_text_of_object_decides(self):
        self.assertTrue(is_sql_dirty(Composed('UPDATE "tests_category" SET "title" = 1')))
        self.assertFalse(is_sql_dirty(Composed('SELECT "title" FROM "tests_category"')))

    def test_object_without_text_is_dirty(self):
        self.assertTrue(is_sql_dirty(Opaque()))

    def test_strings_and_bytes(self):
        for sql in ('delete from t', b'delete from t'):
            self.assertTrue(is_sql_dirty(sql))
        for sql in ('select deleted from t', b'select deleted from t'):
            self.assertFalse(is_sql_dirty(sql))


class SqlObjectInTransactionTests(TransactionTestCase):
    def setUp(self):
        super(SqlObjectInTransactionTests, self).setUp()
        self.category = Category.objects.create(title='first')
        invalidate_all()

    def execute(self, text):
        def hand_over_text(execute, sql, params, many, context):
            return execute(text, params, many, context)

        with connection.execute_wrapper(hand_over_text):
            with connection.cursor() as cursor:
                cursor.execute(Composed(text))

    def title(self):
        return Category.objects.cache().get(pk=self.category.pk).title

    def test_write(self):
        self.assertEqual(self.title(), 'first')
        with transaction.atomic():
            self.execute("UPDATE tests_category SET title = 'second'")
            self.assertTrue(transaction_states.is_dirty(['default']))
            self.assertEqual(self.title(), 'second')

    def test_read(self):
        self.assertEqual(self.title(), 'first')
        with transaction.atomic():
            self.execute('SELECT title FROM tests_category')
            self.assertFalse(transaction_states.is_dirty(['default']))
