"""Keys that had another name before: a config that still uses one is refused with the new name."""

#: Old path → new path.
RENAMED: dict[str, str] = {
    "linear": "ease",
    "ease.ridge": "ease.l2",
    "train.event_weights": "inputs.event_weights",
    "train.adversarial": "train.adversarial_epsilon",
    "rerank.new_items": "rerank.cold_item_slots",
    "rerank.pool": "rerank.diversity_pool",
    "rerank.tail": "rerank.long_tail_boost",
}
