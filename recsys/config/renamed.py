"""Names that were different in older releases.

A config of a user that has an old key is refused with the new name. In records of the storage, old names are replaced.
"""

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

#: Old → new name of a number of a signal, in `recommend.signals` and in stored weights.
RENAMED_SIGNALS: dict[str, str] = {
    "isolated": "candidate_pass",
    "newest_lasting": "transitions_last_all_time",
    "newest_recent": "transitions_last_decayed",
    "whole_lasting": "transitions_history_all_time",
    "whole_recent": "transitions_history_decayed",
    "linear_lasting": "ease_all_time",
    "linear_recent": "ease_decayed",
}
