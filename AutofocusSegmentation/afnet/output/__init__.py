"""Results to files: segmentations, label maps, and all of a run or none of it."""
