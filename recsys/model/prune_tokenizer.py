"""A fast tokenizer without the tokens that a shop never uses.

Of the texts that were looked at, the result makes the same pieces as before, since a piece is only left out where no
text has it:

- WordPiece takes the longest piece that fits, at each place of a word.
- BPE joins pieces by its rules in their order; a rule that made a part of a kept piece is kept.
- Unigram takes the pieces with the highest product of probabilities.

Single characters and bytes are kept, so that any text still has tokens.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from recsys.errors import ConfigError

TOKENIZER_FILE = "tokenizer.json"
_SETTINGS_FILE = "tokenizer_config.json"
#: Beside the two above; files of slow tokenizers hold the whole vocabulary and are left out.
_COPIED = ("special_tokens_map.json",)
#: A space before a piece, as byte-level and SentencePiece tokenizers write it.
_MARKS = "\u0120\u2581"
#: Texts that are tokenised at a time.
_AT_A_TIME = 4096


class PrunedTokenizer(NamedTuple):
    """A tokenizer in files, and what became of its tokens."""

    files: dict[str, str]
    """Content by name."""
    kept: list[int]
    """The old id of each new one, ascending."""


def used_tokens(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> set[int]:
    """Ids of all tokens of some texts and of their lower case, also beyond the length at which an encoder cuts them."""
    distinct = sorted({form for text in texts for form in (text, text.lower())})
    used: set[int] = set()
    for start in range(0, len(distinct), _AT_A_TIME):
        part = distinct[start : start + _AT_A_TIME]
        for ids in tokenizer(part, truncation=False, verbose=False, return_attention_mask=False)["input_ids"]:
            used.update(ids)
    return used


def prune_tokenizer(folder: Path, used: Iterable[int], num_spare: int = 0) -> PrunedTokenizer:
    """The tokenizer of a model's folder without tokens that are not used.

    Args:
        folder: With `tokenizer.json`.
        used: Ids to keep, with all single characters, bytes and special tokens.
        num_spare: Other pieces of letters to keep, the most frequent ones: vocabularies are in the order of frequency.

    Raises:
        ConfigError: the tokenizer is of a kind whose tokens cannot be left out.
    """
    path = folder / TOKENIZER_FILE
    if not path.exists():
        raise ConfigError(f"encoder.model: {folder} has no {TOKENIZER_FILE}: {_WAY_OUT}")
    whole: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    model = whole["model"]
    kind = model.get("type") or ("WordPiece" if "max_input_chars_per_word" in model else None)
    if kind not in _KINDS:
        raise ConfigError(f"encoder.model: {folder} has a tokenizer of the kind {kind!r}: {_WAY_OUT}")
    special = {token["content"]: int(token["id"]) for token in whole.get("added_tokens", [])}
    kept = sorted(_kept_of(model, kind, set(used) | set(special.values()), num_spare))
    new_id = {old: new for new, old in enumerate(kept)}
    whole["model"] = _KINDS[kind](model, new_id)
    whole["added_tokens"] = [token | {"id": new_id[token["id"]]} for token in whole.get("added_tokens", [])]
    ids = {content: new_id[old] for content, old in special.items()}
    whole["post_processor"] = _renumbered(whole.get("post_processor"), ids)
    if whole.get("padding"):
        whole["padding"]["pad_id"] = ids[whole["padding"]["pad_token"]]
    files = {TOKENIZER_FILE: json.dumps(whole, ensure_ascii=False)}
    if (settings := folder / _SETTINGS_FILE).exists():
        files[_SETTINGS_FILE] = json.dumps(
            _settings(json.loads(settings.read_text(encoding="utf-8")), new_id), indent=2
        )
    files |= {name: (folder / name).read_text(encoding="utf-8") for name in _COPIED if (folder / name).exists()}
    return PrunedTokenizer(files, kept)


def _kept_of(model: Mapping[str, Any], kind: str, wanted: set[int], num_spare: int) -> set[int]:
    """The wanted ids, with what no text can do without, and what they are joined from."""
    pieces = dict(_pieces(model))
    prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    always = {
        number
        for piece, number in pieces.items()
        if len(piece.removeprefix(prefix).removesuffix(suffix)) <= 1 or _is_byte(piece)
    }
    unknown = model.get("unk_id") if kind == "Unigram" else pieces.get(str(model.get("unk_token")))
    kept = wanted | always | ({unknown} if unknown is not None else set())
    others = sorted(number for piece, number in pieces.items() if number not in kept and _is_word(piece, prefix))
    kept |= set(others[:num_spare])
    return _with_parts(model, pieces, kept) if kind == "BPE" else kept


def _pieces(model: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        yield from vocabulary.items()
    else:
        yield from ((piece, number) for number, (piece, _) in enumerate(vocabulary))


def _is_byte(piece: str) -> bool:
    """Whether it stands for one byte of a character that has no piece: `<0x0A>`."""
    return len(piece) == len("<0x0A>") and piece.startswith("<0x") and piece.endswith(">")


def _is_word(piece: str, prefix: str) -> bool:
    """Whether it consists of letters, with or without a mark of its place in the word."""
    return piece.removeprefix(prefix).lstrip(_MARKS).isalpha()


def _with_parts(model: Mapping[str, Any], pieces: Mapping[str, int], kept: set[int]) -> set[int]:
    """Kept pieces with all that they can be joined from."""
    parts: dict[int, list[int]] = {}
    for left, right, joined in _merges(model):
        parts.setdefault(pieces[joined], []).extend((pieces[left], pieces[right]))
    found, waiting = set(kept), list(kept)
    while waiting:
        new = set(parts.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found


def _merges(model: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The rules of BPE: left, right and joined piece."""
    prefix = model.get("continuing_subword_prefix") or ""
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        yield left, right, left + right.removeprefix(prefix)


def _of_word_pieces(model: dict[str, Any], new_id: Mapping[int, int]) -> dict[str, Any]:
    vocabulary = {piece: new_id[old] for piece, old in model["vocab"].items() if old in new_id}
    return model | {"vocab": vocabulary}


def _of_merges(model: dict[str, Any], new_id: Mapping[int, int]) -> dict[str, Any]:
    pruned = _of_word_pieces(model, new_id)
    known = pruned["vocab"]
    merges = [
        merge
        for merge, rule in zip(model["merges"], _merges(model), strict=True)
        if all(piece in known for piece in rule)
    ]
    return pruned | {"merges": merges}


def _of_probabilities(model: dict[str, Any], new_id: Mapping[int, int]) -> dict[str, Any]:
    vocabulary = [entry for old, entry in enumerate(model["vocab"]) if old in new_id]
    unknown = model.get("unk_id")
    return model | {"vocab": vocabulary, "unk_id": None if unknown is None else new_id[unknown]}


_KINDS = {"WordPiece": _of_word_pieces, "BPE": _of_merges, "Unigram": _of_probabilities}
_WAY_OUT = (
    f"only those of {', '.join(_KINDS)} can be made smaller; keep the vocabulary: --set compress.vocabulary=false"
)


def _renumbered(value: Any, ids: Mapping[str, int]) -> Any:
    """The post-processor with new ids of special tokens: `[text, id]`, or `{id: text, ids: […], tokens: […]}`."""
    match value:
        case [str() as token, int()]:
            return [token, ids[token]]
        case {"id": _, "ids": _, "tokens": list() as tokens}:
            return value | {"ids": [ids[token] for token in tokens]}
        case dict():
            return {name: _renumbered(each, ids) for name, each in value.items()}
        case list():
            return [_renumbered(each, ids) for each in value]
        case _:
            return value


def _settings(settings: dict[str, Any], new_id: Mapping[int, int]) -> dict[str, Any]:
    """`tokenizer_config.json`: its table of special tokens has new ids."""
    if "added_tokens_decoder" not in settings:
        return settings
    table = {str(new_id[int(old)]): token for old, token in settings["added_tokens_decoder"].items()}
    return settings | {"added_tokens_decoder": table}
