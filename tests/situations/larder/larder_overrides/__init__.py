"""What the fork adds to the larder."""
