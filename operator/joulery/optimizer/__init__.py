"""Which variant, how many instances, at which clock, for all pools at once. Pure: values in, values out."""
