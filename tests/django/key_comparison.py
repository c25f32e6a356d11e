"""With CACHEOPS_ROVER_CHECK_KEYS = 1: the key of each query, by its structure and by compiling, is logged where both differ."""

from read_comparison import current_test, figures


def install(log):
    """Compare all keys of this process; what is counted is among its figures."""
    from rover_overrides.hooks import shape_keys

    def compare(by_shape, by_compiling, model):
        figures["keys compared"] += 1
        if by_shape != by_compiling:
            log.write(
                wrong=current_test(),
                kind="key",
                when="at once",
                difference=f"{by_shape} by the structure, {by_compiling} by compiling",
                sql=model._meta.label,
            )

    shape_keys.record_check = compare


def count():
    """Return how many keys were computed in either way."""
    from rover_overrides.shapes.checking import tally

    return {"keys by structure": tally.by_shape, "keys by compiling": tally.compiled}
