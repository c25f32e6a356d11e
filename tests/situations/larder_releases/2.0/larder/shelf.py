from larder import SETTINGS


class Shelf:
    """Results by name."""

    def __init__(self):
        self.jars = {}
        self.hits = 0

    def get(self, name, make):
        """Return what is kept under a name, or make it."""
        if SETTINGS["ENABLED"] and name in self.jars:
            self.hits += 1
            return self.jars[name]
        found = make()
        self.jars[name] = found
        return found

    def drop(self, name):
        """Forget a name."""
        self.jars.pop(name, None)

    def names(self):
        """Return all names in order."""
        return sorted(self.jars, key=str.casefold if SETTINGS["FOLD"] else None)
