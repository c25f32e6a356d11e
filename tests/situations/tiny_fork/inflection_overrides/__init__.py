"""What the fork adds to inflection."""
