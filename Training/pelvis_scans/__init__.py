"""What makes pelvic CT scans, `generator.weighted_sample(rng)`; needs torch, numpy and scipy, and the packs on disk."""
