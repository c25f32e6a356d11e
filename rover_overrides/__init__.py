"""What Rover adds to cacheops: the code behind the patches, reached from their hunks."""
