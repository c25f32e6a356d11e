"""What Rover adds to tabulate."""
