"""Translates a request into the terms of one snapshot: the session, the excluded items, and warnings.

Shapes: I items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.data.events.event_weights import weights_of_kinds
from recsys.data.values.texts import says_something
from recsys.schema import USUAL_EVENT
from recsys.serving.contracts import RecommendationRequest, Strategy, Visitor
from recsys.serving.live_catalog import LiveCatalog
from recsys.serving.published_users import PublishedUsers
from recsys.serving.query_reader import QueryReader, ReadQuery
from recsys.serving.sessions import Session
from recsys.serving.timely_rows import UnreadableError
from recsys.serving.user_template import UserTemplate

Bools = npt.NDArray[np.bool_]

#: A warning names at most this many unknown ids.
_NAMED_IDS = 5


@dataclass(frozen=True, kw_only=True)
class ResolvedVisitor:
    """The visitor of a request in terms of one snapshot."""

    visitor: Visitor
    session: Session
    warnings: list[str]
    """What the service ignored, and why."""
    query: ReadQuery | None = None
    """What its search says; None: there is none, or searches are not read."""

    @property
    def draw_key(self) -> str:
        """The text that seeds random draws of the re-ranking: the user id, or for anonymous users what they sent.

        So the same request gets the same list, whatever other requests are ranked with it.
        """
        return self.session.user_id or self.visitor.model_dump_json(include={"history", "query", "attributes"})

    @property
    def strategy(self) -> Strategy:
        """The strategy of a list that is ranked now."""
        if self.session.query:
            return "query"
        has_positives = any(weight > 0 for weight in self.session.weights)
        return "personalized" if self.session.stored is not None or has_positives else "popular"


@dataclass(frozen=True, kw_only=True)
class ResolvedRequest(ResolvedVisitor):
    """A request for a list in terms of one snapshot."""

    length: int | None
    """Length of the list; None: that of the published lists."""
    excluded: Bools
    """[I] items that must not be in the list."""

    @property
    def needs_ranking(self) -> bool:
        """Whether the request says anything that the published list of its user cannot reflect."""
        session = self.session
        return session.stored is None or bool(session.events or session.query or session.profile)


def resolve_visitor(
    visitor: Visitor,
    catalog: LiveCatalog,
    users: PublishedUsers,
    template: UserTemplate | None,
    event_weights: Mapping[str, float],
    queries: QueryReader | None,
) -> ResolvedVisitor:
    """Look up what a request says of its user. Unknown ids and attributes are left out, with a warning.

    Args:
        visitor: The request.
        catalog: The items of the snapshot.
        users: Histories of the users whom the snapshot knows.
        template: None: the model of the snapshot reads no user attributes.
        event_weights: `inputs.event_weights` of the snapshot's run.
        queries: None: searches are read as they are.
    """
    warnings: list[str] = []
    known = _known_items([event.item_id for event in visitor.history], "history", catalog, warnings)
    events = [event for event in visitor.history if event.item_id in known]
    asked = _meant(visitor.query or "", warnings)
    query = queries.read(asked) if queries is not None and asked else None
    kinds = pa.array([event.event or USUAL_EVENT for event in events], pa.string())
    session = Session(
        user_id=visitor.user_id or "",
        stored=None if visitor.user_id is None else _stored(visitor.user_id, users, warnings),
        events=events,
        weights=weights_of_kinds(kinds, event_weights).tolist(),
        query=asked if query is None else query.text,
        profile=_profile(visitor.attributes, template, warnings),
    )
    return ResolvedVisitor(visitor=visitor, session=session, warnings=warnings, query=query)


def resolve_request(request: RecommendationRequest, visitor: ResolvedVisitor, catalog: LiveCatalog) -> ResolvedRequest:
    """Look up which items a request for a list excludes. Unknown ids are left out, with a warning.

    Args:
        request: Its filters must have passed `LiveCatalog.filter_error`.
        visitor: Of this request.
        catalog: The items of the snapshot.
    """
    warnings = list(visitor.warnings)
    excluded = np.zeros(len(catalog), dtype=bool)
    named = _known_items(request.exclude, "exclude", catalog, warnings)
    excluded[catalog.indices(pa.array(sorted(named), pa.string()))] = True
    if request.filters:
        passing = catalog.passing(request.filters)
        if not passing.any():
            warnings.append("filters: no item passes them")
        excluded |= ~passing
    if visitor.query is not None:
        excluded |= visitor.query.excluded
        warnings += visitor.query.warnings
    return ResolvedRequest(
        visitor=request,
        session=visitor.session,
        warnings=warnings,
        query=visitor.query,
        length=request.k,
        excluded=excluded,
    )


def _known_items(ids: Sequence[str], field: str, catalog: LiveCatalog, warnings: list[str]) -> set[str]:
    """The ids that the catalog has; a warning names the others."""
    indices = catalog.indices(pa.array(ids, pa.string()))
    unknown = sorted({item_id for item_id, index in zip(ids, indices.tolist(), strict=True) if index < 0})
    if unknown:
        named = ", ".join(unknown[:_NAMED_IDS]) + (" …" if len(unknown) > _NAMED_IDS else "")
        warnings.append(f"{field}: the catalog does not know {named}")
    return set(ids) - set(unknown)


def _stored(user_id: str, users: PublishedUsers, warnings: list[str]) -> dict[str, Any] | None:
    """The user's row of HISTORIES; None for a user whom the run did not know, or who is unreadable, with a warning."""
    try:
        return users.history(user_id)
    except UnreadableError:
        warnings.append("user_id: what the run has of this user cannot be read now")
        return None


def _meant(query: str, warnings: list[str]) -> str:
    """The search; "" for one of punctuation alone, since items and events with such a text count as without one."""
    if query and not says_something(pa.scalar(query)).as_py():
        warnings.append("query: holds only punctuation, and is not read")
        return ""
    return query


def _profile(attributes: dict[str, str], template: UserTemplate | None, warnings: list[str]) -> str:
    """The user's attributes as one text; "" where the model reads none of them."""
    if not attributes:
        return ""
    if template is None:
        warnings.append("attributes: the model of this snapshot reads no user attributes")
        return ""
    if unknown := sorted(set(attributes) - set(template.names)):
        warnings.append(f"attributes: unknown are {', '.join(unknown)}; the model reads {', '.join(template.names)}")
    return template.fill(attributes)
