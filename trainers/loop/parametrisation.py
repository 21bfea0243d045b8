"""Maximal update parametrisation (Yang et al., arXiv 2203.03466): one learning rate for models of all widths.

In the standard parametrisation every weight has the same learning rate, and a wide model's layers move further in a
step than a narrow one's: the best rate falls with width, and one rate over widths confounds size with tuning. With a
`base_width`, a model of that width is the standard one, and in models of other widths, for Adam,

    weights that read the inputs, biases and norms     start with the deviation that they have at the base width, and
                                                       keep the learning rate
    weights between layers                             have it times base inputs / inputs
    weights that give the outputs                      that too, and start smaller by the root of this ratio; or, where
                                                       they are the inputs' too, outputs are multiplied by the ratio
    attention                                          has logits over d, not over its root, as far as heads grow

Decoupled weight decay takes the same share of a weight at every width. What a step moves in the outputs does then not
depend on the width (tests/trainers/test_parametrisation.py); how far the best learning rate still moves is measured in
benchmarks/parametrisation.py.
"""

from __future__ import annotations

from collections.abc import Mapping


def rate_factors(
    shapes: Mapping[str, tuple[int, ...]], at_base: Mapping[str, tuple[int, ...]], *, inputs: slice
) -> dict[str, float]:
    """Every weight's share of the learning rate, from its shape and the one that it has at the base width.

    `inputs` says which axes of a shape count the numbers that enter one output; a vector has none.
    """

    def entering(shape: tuple[int, ...]) -> int:
        product = 1
        for size in shape[inputs]:
            product *= size
        return product

    return {name: entering(at_base[name]) / entering(shape) for name, shape in shapes.items()}
