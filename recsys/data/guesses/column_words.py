"""What the name of a column says: words for users, items, times and the like, in the spellings that shops have."""

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words of a name by what it names. Words of `key` say that the value is an id.
WORDS = {
    "user": _words(
        "user users customer customers client member visitor buyer shopper reviewer account subscriber "
        "person profile household anonymous pseudo distinct userid customerid memberid visitorid clientid accountid"
    ),
    "item": _words(
        "item items product products sku article stock asin movie book track song video game recipe isbn "
        "listing offer variant business anime itemid productid movieid bookid articleid stockcode"
    ),
    "key": _words("id ids code key no nr num number sku asin isbn uuid uid guid parent"),
    "time": _words(
        "timestamp time date datetime ts at when day created occurred bought ordered purchased "
        "updated modified unixtime eventtime"
    ),
    "kind": _words("event action type kind behavior behaviour verb activity interaction"),
    "weight": _words("quantity qty rating ratings stars score weight count units amount"),
    "title": _words("title name label"),
    "available": _words("available availability status stock active sellable enabled published purchasable"),
    "description": _words("description desc summary plot details about abstract overview body content text"),
    "class": _words(
        "category categories genre genres brand department aisle class color colour material style "
        "author authors artist publisher tag tags keyword keywords features group section "
        "collection series season gender"
    ),
    "private": _words(
        "email mail phone mobile name firstname lastname surname address street zip zipcode postcode "
        "postal birth dob ssn password ip iban"
    ),
}


def words_of(name: str) -> list[str]:
    """The words of a name in lower case: `CustomerID` gives customer and id, `bought_at` bought and at."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+", name)]


def names_id(name: str, what: str) -> int:
    """How clearly a name says `user_id` or `item_id` (`what` is `user` or `item`): 0 not, 1 perhaps, 3 clearly."""
    words = set(words_of(name))
    if not words & WORDS[what]:
        return 0
    return 3 if words <= WORDS[what] | WORDS["key"] else 1


def names_any(name: str, what: str) -> bool:
    """Whether a word of the name is one of these."""
    return bool(set(words_of(name)) & WORDS[what])
