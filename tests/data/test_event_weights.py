"""What an event counts by its kind."""

import pyarrow as pa

from recsys.data.events.event_weights import weights_of_kinds


def test_kinds_of_common_systems_by_which_people_give_things_back_are_no_purchases() -> None:
    given_back = [
        "Order Refunded",
        "Order Cancelled",
        "Product Removed",
        "wc-refunded",
        "WC-Cancelled",
        "removed from cart",
    ]
    taken = ["Order Completed", "Product Added", "wc-completed", "purchase"]
    assert weights_of_kinds(pa.array([*given_back, *taken]), {}).tolist() == [-1.0] * 6 + [1.0] * 4
    assert weights_of_kinds(pa.array(["wc-refunded"]), {"wc_refunded": 0.5}).tolist() == [0.5]
