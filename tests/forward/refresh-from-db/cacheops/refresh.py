from contextvars import ContextVar
from functools import wraps

from django.db.models import Model
from funcy import once


__all__ = ('install', 'is_refreshing')

_refreshing = ContextVar('refreshing', default=False)


def is_refreshing():
    return _refreshing.get()


@once
def install():
    # Models may override the method, so it is the one that they call in the end that is wrapped
    original = Model.refresh_from_db

    @wraps(original)
    def refresh_from_db(self, *args, **kwargs):
        token = _refreshing.set(True)
        try:
            original(self, *args, **kwargs)
        finally:
            _refreshing.reset(token)

    Model.refresh_from_db = refresh_from_db
