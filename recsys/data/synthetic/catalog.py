"""The catalog of the synthetic shop: items whose titles tell their hidden attributes, and new items every week.

An item is a kind of thing (noun of a category) in a material and a style; a style is a brand. A third of the
catalog or more is there from the first day. The rest is launched in weekly batches, the last of them in the night after
the last day: nobody has seen these items.

Shapes: I items, W weeks + 1 batches of launches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Array = npt.NDArray[Any]

CATEGORIES = {
    "Lighting": "Desk Lamp,Floor Lamp,Pendant Light,Wall Sconce,Lantern,Night Light",
    "Seating": "Armchair,Dining Chair,Bar Stool,Bench,Rocking Chair,Footstool",
    "Tables": "Side Table,Coffee Table,Writing Desk,Console Table,Dining Table,Nightstand",
    "Storage": "Bookcase,Shoe Rack,Storage Box,Wall Shelf,Coat Stand,Cabinet",
    "Kitchen": "Cutting Board,Salad Bowl,Serving Tray,Spice Jar,Utensil Holder,Bread Bin",
    "Tableware": "Dinner Plate,Soup Bowl,Coffee Mug,Tea Pot,Sugar Bowl,Milk Jug",
    "Garden": "Plant Pot,Bird Feeder,Watering Can,Planter,Trellis,Wind Chime",
    "Decor": "Picture Frame,Wall Clock,Vase,Candle Holder,Mirror,Bookend",
    "Office": "Pen Holder,Letter Tray,Monitor Stand,Notebook Stand,Paperweight,Magazine Rack",
    "Bath": "Soap Dish,Towel Rail,Bath Stool,Toothbrush Cup,Laundry Basket,Bath Tray",
}
MATERIALS = ("Walnut", "Oak", "Bamboo", "Brass", "Copper", "Steel", "Glass", "Ceramic", "Marble", "Rattan")
_STYLES = (
    "Harbor,Meadow,Aurora,Willow,Ember,Juniper,Saffron,Cobalt,Heron,Linden,Maple,Nordic,"
    "Orchid,Pebble,Quartz,Raven,Sierra,Tundra,Umber,Velvet,Winter,Yarrow,Zephyr,Alder,Birch,"
    "Cedar,Dahlia,Elm,Fjord,Grove,Hazel,Indigo,Jasper,Kestrel,Lagoon,Mistral,Nectar,Onyx,"
    "Poppy,Russet"
)
STYLES = tuple(_STYLES.split(","))
_BRANDS = ("House", "Studio", "Works", "Living", "& Co")

#: A smaller catalog has no structure.
MIN_ITEMS = 12

#: Items of a style, about: a smaller catalog has fewer styles.
_ITEMS_PER_STYLE = 20
_MIN_STYLES = 3
#: Share of the catalog that is launched in a week, and in all weeks at most.
_LAUNCHED_PER_WEEK, _LAUNCHED = 0.05, 0.65
#: Interest in an item falls with its age, from 1 to a rest: e-fold time in weeks.
_INTEREST_WEEKS, _LASTING_INTEREST = 2.0, 0.06


@dataclass(frozen=True, kw_only=True)
class SyntheticCatalog:
    """Items with their hidden attributes."""

    category: Array
    """[I] place in `CATEGORIES`."""
    material: Array
    """[I] place in `MATERIALS`."""
    style: Array
    """[I] place in `STYLES`."""
    weight: Array
    """[W, I] how much each item attracts after each number of launches; 0 before its own launch."""
    launch_days: Array
    """[W − 1] days of the launches since the first day, ascending. The last one comes after the last day."""
    table: pa.Table
    """item_id, title, category, brand, price."""

    @property
    def num_styles(self) -> int:
        """Styles of the catalog."""
        return int(self.style.max()) + 1


def make_catalog(random: np.random.Generator, num_items: int, num_days: int) -> SyntheticCatalog:
    """Draw the items of a shop of so many days."""
    nouns = [noun for names in CATEGORIES.values() for noun in names.split(",")]
    num_styles = min(max(num_items // _ITEMS_PER_STYLE, _MIN_STYLES), len(STYLES))
    num_kinds = num_styles * len(MATERIALS) * len(nouns)
    # Two items of one kind have one title; that happens only where all kinds are taken.
    deck = np.concatenate([random.permutation(num_kinds) for _ in range(-(-num_items // num_kinds))])[:num_items]
    rest, noun = np.divmod(deck, len(nouns))
    style, material = np.divmod(rest, len(MATERIALS))
    name = random.permutation(len(STYLES))[style]
    category = noun // (len(nouns) // len(CATEGORIES))
    words = random.integers(0, len(_BRANDS), len(STYLES))[name]
    launch_days = np.arange(num_days, 0, -7)[::-1]
    table = pa.table(
        {
            "item_id": ids("i", np.arange(num_items), 4),
            "title": pc.binary_join_element_wise(pick(STYLES, name), pick(MATERIALS, material), pick(nouns, noun), " "),
            "category": pick(list(CATEGORIES), category),
            "brand": pc.binary_join_element_wise(pick(STYLES, name), pick(_BRANDS, words), " "),
            "price": pa.array(np.round(np.exp(random.normal(3.3, 0.7, num_items)) + 1, 2)),
        }
    )
    weight = _weights(random, num_items, len(launch_days))
    return SyntheticCatalog(
        category=category, material=material, style=style, weight=weight, launch_days=launch_days, table=table
    )


def _weights(random: np.random.Generator, num_items: int, num_launches: int) -> Array:
    """[W, I] skewed popularity (Zipf), times the interest in items of that age."""
    popularity = 1.0 / (random.permutation(num_items) + 1) ** 0.6
    share = min(_LAUNCHED_PER_WEEK, _LAUNCHED / num_launches)
    batch = max(1, round(num_items * share))
    launched = np.zeros(num_items, dtype=int)  # in which launch; 0: there from the first day
    newest = random.permutation(num_items)[: batch * num_launches]
    launched[newest] = num_launches - np.arange(len(newest)) // batch
    age = np.arange(num_launches + 1)[:, None] - launched
    interest = _LASTING_INTEREST + (1 - _LASTING_INTEREST) * np.exp(-age / _INTEREST_WEEKS) * (launched > 0)
    return np.where(age >= 0, popularity * interest, 0.0)


def pick(words: Sequence[str], index: Array) -> pa.Array:
    """The words at these places."""
    return pa.array(words, pa.string()).take(pa.array(index))


def ids(letter: str, number: Array, width: int) -> pa.Array:
    """Ids such as i0042."""
    digits = pc.utf8_lpad(pa.array(number).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(pa.scalar(letter), digits, "")
