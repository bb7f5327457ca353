"""What the columns of the public tables of `recsys.schema` mean, in words."""

#: For the data dictionary. `TABLE.column` wins over `column`.
MEANINGS: dict[str, str] = {
    "ITEM_TEXTS.text": "What the encoder reads: by the template `enrich.items.text`, or the item's own text where none "
    "was written.",
    "summary": "One sentence that was written. It is empty where none was written, or where it was refused.",
    "keywords": "Keywords that were written.",
    "model": "The model that wrote, or the name of the back end. It is empty where nothing was written.",
    "prompt_hash": "Digest of the prompt templates. It is empty where nothing was written.",
    "USER_PROFILES.profile": "Text at the beginning of the user's history: that of `inputs.users`, then what was "
    "written.",
    "until": "Time of the newest event that the written text has read. It is null where nothing was written.",
    "user_id": "Id of the user, as it stands in the events.",
    "item_id": "Id of the item, as it stands in the events.",
    "INTERACTIONS.item_id": "Id of the item. It is empty where the event is a search.",
    "timestamp": "When the event happened.",
    "event": "Kind of the event, such as `view` or `purchase`. It is `interaction` where the input names no kind.",
    "weight": "Strength of the event: that of the input (1 where it names none) times that of its kind "
    "(`inputs.event_weights`). 0 or less makes no positive.",
    "text": "Text of the item, made by the template `inputs.items.text`.",
    "available": "Whether the item may be recommended.",
    "attributes": "Columns of the item that are kept for showing and filtering, by name.",
    "text_hash": "SHA-256 of the text. It is the key of the text's stored vector.",
    "vector": "The text as the encoder represents it.",
    "item_ids": "Items of the user's newest events. The larger of `histories.max_events` and `histories.max_length` "
    "limits their number.",
    "timestamps": "Times of these events.",
    "events": "Kinds of these events.",
    "weights": "Strengths of these events, above 0.",
    "seen_item_ids": "Each item that the user ever touched, once. Items of older events, and of events of weight 0 or "
    "less, are among them.",
    "rejected_item_ids": "Items that the user does not want: the newest event has a negative weight.",
    "rejected_timestamps": "Times of these events.",
    "served_item_ids": "Items that the user was shown since the user last took them, one for each impression.",
    "served_timestamps": "Times of these impressions.",
    "profile": "Text that describes the user, made by the template `inputs.users.text`.",
    "rank": "Place in the list. 1 is the best, and the ranks have no gap.",
    "score": "Logarithm of P(item | user) among the user's candidates, as the rules changed it: a boost adds the "
    "logarithm of its factor, so that a score may be above 0. It never rises with the rank. Only scores of one list "
    "can be compared.",
    "source": "Signal or rule that lifts the item most above the user's other candidates.",
    "reason": "The source in words, for people.",
    "variant": "Arms of the experiments that the user is in, such as `diversity/high`; with two experiments "
    "`diversity/high+order/new`. It is `default` for a user who is in none.",
    "similar_item_id": "Id of an item that goes with the item. It may be recommended, and is never the item itself.",
    "SIMILAR_ITEMS.score": "Logarithm of P(similar item | a user has just taken the item). It never rises with the "
    "rank. Only scores of one item can be compared.",
    "SIMILAR_ITEMS.source": "Signal that lifts the similar item most above other candidates.",
    "QUARANTINE.source": "File of the refused row.",
    "run_date": "Data date of the night.",
    "run_id": "The run whose lists were published.",
    "metric": "What is measured, such as `ndcg@10`, `users` or `coverage`.",
    "segment": "Of which users, items, input, stage or signal. It is `all` where the number is of everything.",
    "value": "The number.",
    "low": "Lower bound of the 95 % interval. It is null where there is no interval.",
    "high": "Upper bound of the 95 % interval. It is null where there is no interval.",
    "REALIZED.segment": "`all`, `variant:NAME`, `source:NAME` (places of lists with this source), or `live` (what the "
    "live service showed).",
    "num_lists": "Lists of this night that hold the item.",
    "num_top_10": "Lists that have the item in their first ten places.",
    "num_taken": "Events with the item in the last seven days up to the night's date.",
    "is_new": "Whether nobody has taken the item yet.",
    "is_tail": "Whether the item is outside the fifth of the catalog with the most interactions.",
    "row": "The refused row as JSON, as it stood in the input.",
    "column": "Column at fault. It is empty where the whole line is unreadable.",
    "QUARANTINE.reason": "Why the row was refused.",
}
