"""How typical an item's text is of the catalog."""

import numpy as np

from recsys.signals.typicality import typicality


def test_an_item_near_the_mean_text_is_the_most_typical() -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [0, 0], [-1, 0]], dtype=np.float32)
    found = typicality(vectors)
    assert found.argmax() == 1
    assert found[3] == found[4] == 0, "an item without text, and one that is unlike the others"
    assert np.allclose(found[1], 1.0, atol=0.2)


def test_a_catalog_without_texts_has_no_typical_item() -> None:
    assert not typicality(np.zeros((3, 2), dtype=np.float32)).any()
