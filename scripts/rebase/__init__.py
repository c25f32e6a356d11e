"""Moving the fork to another release, and retiring what that makes unnecessary."""
