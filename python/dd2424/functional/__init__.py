"""What each operation means: a file for each family, with signatures, shapes and sources."""
