"""What recipes cost and use, compiled. Loading this loads numba."""

from __future__ import annotations

from joulery.optimizer.fill.kernel_compiled import FIRST_COUNT, FIRST_ITEM, PARTIAL, RUNS, Items, compiled
from joulery.optimizer.problem import Floats, Ints


@compiled
def cost_and_use(items: Items, per_instance: Ints, recipes: Ints, cost: Floats, use: Floats) -> None:
    """Write each recipe's cost, switching aside, and add the groups of GPUs that it uses.

    Args:
        per_instance: `[kind, row]`, groups of GPUs.
        use: `[recipe, row]`, zeros.
    """
    rows = per_instance.shape[1]
    for entry in range(len(recipes)):
        recipe = recipes[entry]
        total, carried = 0.0, 0.0
        for run in range(RUNS):
            number = recipe[FIRST_COUNT + run]
            if number == 0:
                continue
            listed = recipe[FIRST_ITEM + run]
            item, load = ~listed, 0.0
            if listed >= 0:
                item, load = listed, items.capacity[listed]
            total += number * (items.idle[item] + items.slope[item] * load)
            carried += number * load
            for row in range(rows):
                use[entry, row] += number * per_instance[items.kind[item], row]
        last = recipe[PARTIAL]
        cost[entry] = total + items.idle[last] + items.slope[last] * (1.0 - carried)
        for row in range(rows):
            use[entry, row] += per_instance[items.kind[last], row]
