from django.template import Context, Engine, TemplateSyntaxError

from cacheops.templatetags.cacheops import CacheopsLibrary, invalidate_fragment

from .models import Category
from .utils import BaseTestCase, make_inc

register = CacheopsLibrary()


@register.decorator_tag
def wrapped(left, right='>'):
    return lambda func: lambda: left + func() + right


@register.decorator_tag(takes_context=True)
def greeted(context, key):
    return lambda func: lambda: '%s: %s' % (context[key], func())


def render(source, **context):
    engine = Engine(libraries={'cacheops': 'cacheops.templatetags.cacheops'})
    engine.template_builtins.append(register)
    return engine.from_string('{% load cacheops %}' + source).render(Context(context))


class TemplateLibraryTests(BaseTestCase):
    def test_cached(self):
        inc = make_inc()
        source = '{% cached 60 "library" %}{{ inc }}{% endcached %}'
        self.assertEqual(render(source, inc=inc), '1')
        self.assertEqual(render(source, inc=inc), '1')
        invalidate_fragment('library')
        self.assertEqual(render(source, inc=inc), '2')

    def test_cached_as(self):
        inc = make_inc()
        qs = Category.objects.filter(title='library')
        source = '{% cached_as qs 60 "library" %}{{ inc }}{% endcached_as %}'
        self.assertEqual(render(source, inc=inc, qs=qs), '1')
        self.assertEqual(render(source, inc=inc, qs=qs), '1')
        Category.objects.create(title='library')
        self.assertEqual(render(source, inc=inc, qs=qs), '2')

    def test_arguments(self):
        self.assertEqual(render("{% wrapped '<' %}a{% endwrapped %}"), '<a>')
        self.assertEqual(render("{% wrapped '(' right=')' %}a{% endwrapped %}"), '(a)')

    def test_context(self):
        self.assertEqual(render("{% greeted 'who' %}hi{% endgreeted %}", who='Ann'), 'Ann: hi')

    def test_wrong_arguments(self):
        with self.assertRaises(TemplateSyntaxError):
            render('{% wrapped %}{% endwrapped %}')
