"""The application that the oracle reads and writes: a schema like Rover's, small in rows and rich in kinds of columns."""
