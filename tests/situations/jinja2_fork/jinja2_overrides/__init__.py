"""What Rover adds to Jinja2."""
