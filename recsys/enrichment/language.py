"""Whether a text is in the script and the language of another: without a model, by its letters and its small words.

The check refuses only what is clear. A text with few letters, or in a language without a list below, passes as long as
its script is right.
"""

import re
import unicodedata
from collections import Counter

#: Letters of a text that its script is judged by, at least.
_MIN_LETTERS = 8
#: Share of the letters that must be of the scripts of the source.
_MIN_SHARE = 0.6
#: A script other than Latin with this share of the letters of the source must have at least that share of the text.
_MAIN_SHARE, _LEAST_SHARE = 0.3, 0.1
#: Small words of a language that a text must have before it counts as a text in this language.
_MIN_WORDS = 3
#: Scripts that are written together.
_SAME = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "HALFWIDTH": "CJK", "FULLWIDTH": "LATIN"}

#: Frequent small words that hardly any of the other languages has.
SMALL_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "English": "the and of with this that from your you are which is its has by their it be was not or who they",
        "German": "der das und mit für ist ein eine einen nicht auf von zu sich auch wird dem den bei sind aus wer",
        "French": "le les des et une pour avec dans est sur vos votre vous aux qui sont ou du au cette ces pas plus",
        "Spanish": "el los las y una para con su es por al más como pero muy esta este son sus lo donde desde",
        "Italian": "il gli di della che per è sono delle dei nel nella con più questo questa alla dal anche dello",
        "Portuguese": "os uma não para com é são mais dos das em seu sua ao você pelo pela isso este esta também",
        "Dutch": "het een van en voor met niet zijn op deze dat is ook door bij naar uit aan worden heeft je",
        "Polish": "jest nie się na dla oraz przez który która jako tego są może jak od po przy lub",
        "Swedish": "och att det som för är av med inte till den ett på eller från kan har också",
        "Russian": "и в на для с не что это из по как к от или его при она они все может",
    }.items()
}
_WORD = re.compile(r"[^\W\d_]+")


def scripts_of(text: str) -> Counter[str]:
    """Letters of a text by their script, such as LATIN, CYRILLIC or CJK."""
    names = (unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha())
    return Counter(_SAME.get(name, name) for name in names)


def language_of(text: str) -> str | None:
    """The language with most small words in a text; None where they are few, or two languages have about as many."""
    words = Counter(_WORD.findall(text.lower()))
    counts = Counter(
        {language: sum(words[word] for word in small) for language, small in SMALL_WORDS.items()}
    ).most_common(2)
    (first, most), (_, second) = counts
    return first if most >= _MIN_WORDS and most >= 2 * second else None


def same_language(source: str, text: str) -> bool:
    """Whether nothing clear speaks against it.

    >>> same_language("Lampe aus Holz für den Tisch, mit Schirm", "A lamp that is made for the desk, with a shade")
    False
    >>> same_language("Oak lamp", "A lamp for the desk, with a shade")
    True
    """
    found, known = scripts_of(text), scripts_of(source)
    letters = sum(found.values())
    if letters >= _MIN_LETTERS and known:
        if sum(found[script] for script in known) < _MIN_SHARE * letters:
            return False
        own = {script: num for script, num in known.items() if script != "LATIN"}
        main = max(own, key=own.__getitem__, default="LATIN")  # Latin brands stand in titles of all scripts
        if known[main] >= _MAIN_SHARE * known.total() and found[main] < _LEAST_SHARE * letters:
            return False
    ours, theirs = language_of(source), language_of(text)
    return ours is None or theirs is None or ours == theirs
