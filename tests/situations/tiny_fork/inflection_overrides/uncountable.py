"""Words without a plural, also at the end of a phrase."""


def is_uncountable(phrase, words):
    """Tell whether the last word of a phrase is one of those without a plural."""
    return phrase.lower().split()[-1] in words
