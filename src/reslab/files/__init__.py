"""Files that are whole or absent: atomic writes, verified downloads, hashes, locks, and safe unpickling."""
