"""Personal categories: classes of an owner, learned from a few examples over the vectors that an index holds."""
