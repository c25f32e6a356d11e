"""Reads and a write of one row, for processes of an application."""

READ = "list(Shelf.objects.filter(name='Left').values_list('id', flat=True))"


READ_AFTER_WRITE = "list(Shelf.objects.filter(name='Right').values_list('id', flat=True))"


WRITE = "with transaction.atomic():\n  Shelf.objects.update(name='Right')"


COUNT_OUTBOX_ENTRIES = """
cursor = connection.cursor()
cursor.execute('SELECT COUNT(*) FROM rover_outbox')
cursor.fetchone()[0]
"""
