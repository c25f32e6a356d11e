"""The template tags of cacheops, and tags made with its library, compile and cache.

On Django 6.1 each of cacheops' template tags, and each tag made with its library, raised TypeError
when its template was compiled: parse_bits() no longer takes takes_context. The context is removed
from the parameters here now.

Needs: Django>=6.1
Drop-When: upstream's template tags compile on Django 6.1
"""

import pytest
from cacheops.templatetags.cacheops import CacheopsLibrary, invalidate_fragment
from django.template import Context, Engine, TemplateSyntaxError
from probe_project.models import Article

register = CacheopsLibrary()


@register.decorator_tag
def doubled(prefix, suffix=""):
    def decorate(func):
        return lambda: prefix + func() * 2 + suffix

    return decorate


@register.decorator_tag(takes_context=True)
def named(context, key):
    def decorate(func):
        return lambda: "%s %s" % (context[key], func())

    return decorate


ENGINE = Engine(libraries={"cacheops": "cacheops.templatetags.cacheops"})
ENGINE.template_builtins.append(register)


def compiled(text):
    """Compile a template, for which a TypeError of the tag's own is a failure like any other."""
    try:
        return ENGINE.from_string("{% load cacheops %}" + text)
    except TypeError as error:
        raise AssertionError("the tag does not compile: %s" % error) from error


class Calls:
    """Counts how often a template asks."""

    def __init__(self):
        self.number = 0

    def __str__(self):
        self.number += 1
        return "call %d" % self.number


def test_cached_fragment_is_a_hit_until_invalidated(probe):
    template, calls = compiled("{% cached 60 'fragment' %}{{ calls }}{% endcached %}"), Calls()
    context = Context({"calls": calls})
    assert [template.render(context), template.render(context)] == ["call 1", "call 1"]
    invalidate_fragment("fragment")
    assert template.render(context) == "call 2"


def test_cached_as_fragment_is_a_hit_until_its_query_is_invalidated(probe):
    template, calls = (
        compiled("{% cached_as articles 60 'fragment' %}{{ calls }}{% endcached_as %}"),
        Calls(),
    )
    context = Context({"calls": calls, "articles": Article.objects.filter(pages=1)})
    assert [template.render(context), template.render(context)] == ["call 1", "call 1"]
    Article.objects.create(pk=9, title="Delta", pages=1)
    assert template.render(context) == "call 2"


def test_tag_of_the_library_gets_its_arguments(probe):
    assert compiled("{% doubled 'a' suffix='z' %}b{% enddoubled %}").render(Context()) == "abbz"


def test_tag_of_the_library_gets_the_context(probe):
    assert (
        compiled("{% named 'who' %}reads{% endnamed %}").render(Context({"who": "Ann"}))
        == "Ann reads"
    )


def test_wrong_arguments_are_a_syntax_error(probe):
    compiled("{% doubled 'a' %}{% enddoubled %}")
    with pytest.raises(TemplateSyntaxError):
        compiled("{% doubled %}{% enddoubled %}")
