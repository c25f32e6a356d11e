"""What can be known of Django's classes, of the models behind tables, and of a piece of SQL."""
