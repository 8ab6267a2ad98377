"""Models of other libraries on the same data, augmentation, budget and metric, marked as peers in the leaderboards."""
