"""Turns the attributes of a user into the text that the ranker reads, with the template of the nightly run."""

from dataclasses import dataclass

import pyarrow as pa

from recsys.data.values.templates import filled_template, template_columns

_CONFIG_KEY = "inputs.users.text"


@dataclass(frozen=True, kw_only=True)
class UserTemplate:
    """The setting `inputs.users.text` of a run."""

    text: str
    max_chars: int

    @property
    def names(self) -> list[str]:
        """The attributes that the template uses."""
        return template_columns(self.text, _CONFIG_KEY)

    def fill(self, attributes: dict[str, str]) -> str:
        """The text of these attributes; "" where the template uses none of them."""
        values = {name: pa.array([attributes.get(name)], pa.string()) for name in self.names}
        filled = filled_template(self.text, _CONFIG_KEY, values, 1, self.max_chars)
        return str(filled[0].as_py() or "")
