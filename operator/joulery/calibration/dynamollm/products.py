"""What 16-bit matrix products cost against 8-bit ones on an H100: the linear layers of the 70B models, as measured."""

from __future__ import annotations

import csv
from functools import lru_cache
from importlib.resources import files

PRODUCTS_FILE = "h100-matrix-products.csv"


@lru_cache(maxsize=1)
def bf16_over_fp8() -> float:
    """Time of all measured products at 1024 tokens and more in BF16 over that in FP8: well below the ratio of peaks, 2.

    Rows: layers of Llama-2-70B and Llama-3.1-70B (same shapes) at TP 2, 4, 8 that the source holds in both.
    """
    total_ms = {"BF16": 0.0, "FP8": 0.0}
    with files("joulery.data").joinpath(f"measurements/{PRODUCTS_FILE}").open("r", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            total_ms[row["precision"]] += float(row["milliseconds"])
    return total_ms["BF16"] / total_ms["FP8"]
