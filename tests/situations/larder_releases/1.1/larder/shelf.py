from larder import SETTINGS


class Shelf:
    """Results by name."""

    def __init__(self):
        self.jars = {}

    def get(self, name, make):
        """Return what is kept under a name, or make it."""
        if SETTINGS["ENABLED"] and name in self.jars:
            return self.jars[name]
        found = make()
        self.jars[name] = found
        return found

    def drop(self, name):
        """Forget a name."""
        self.jars.pop(name, None)

    def names(self):
        """Return all names in order."""
        return sorted(self.jars)
