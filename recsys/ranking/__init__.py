"""From a history to a ranked list, as pure functions shared by the night and the live service."""
