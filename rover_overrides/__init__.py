"""The code behind Rover's patches of cacheops, called from their hunks."""
