from unittest import mock

from cacheops import no_invalidation
from cacheops.conf import model_profile

from .models import Category
from .utils import BaseTestCase


class RefreshFromDbTests(BaseTestCase):
    def setUp(self):
        super(RefreshFromDbTests, self).setUp()
        profile = mock.patch.dict(model_profile(Category), ops={'get'})
        profile.start()
        self.addCleanup(profile.stop)

        pk = Category.objects.create(title='first').pk
        self.category = Category.objects.get(pk=pk)
        self.category.refresh_from_db()
        self.category.refresh_from_db(fields=['title'])
        # Change the row behind the back of cacheops
        with no_invalidation:
            Category.objects.filter(pk=pk).update(title='second')

    def test_object(self):
        self.category.refresh_from_db()
        self.assertEqual(self.category.title, 'second')

    def test_field(self):
        self.category.refresh_from_db(fields=['title'])
        self.assertEqual(self.category.title, 'second')

    def test_other_reads_stay_cached(self):
        self.category.refresh_from_db()
        with self.assertNumQueries(0):
            self.assertEqual(Category.objects.get(pk=self.category.pk).title, 'first')
