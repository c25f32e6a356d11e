"""Move the fork to another release, and retire what that release makes unnecessary."""
