"""Data that is addressed by index: the batch of a step is a function of the seed and the step, so that a resumed run
sees exactly what an uninterrupted one would have seen."""
