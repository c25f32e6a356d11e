"""What Rover added to cacheops when it stood on 4.0.7."""
