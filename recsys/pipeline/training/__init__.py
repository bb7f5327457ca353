"""The training of the ranker: the stages `finetune` and `refit`, and tuning."""
