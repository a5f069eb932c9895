"""What every layer uses: errors, ids, lists, atomic files, locks, reprs."""
