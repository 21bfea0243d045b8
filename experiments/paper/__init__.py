"""The paper's experiments, a file a block: Caballero, Jaini, Krueger and Rish, *Unified Neural Scaling Laws*, 2026.

A block's docstring says what the paper claims, what is asked here, what each tier costs and what to expect. H100-hours
are reckoned, at a fifth of the device's peak and with what a step takes at least; the cpu tiers were run, all but that
of reinforcement, and `results/README.md` tells what came.
"""
