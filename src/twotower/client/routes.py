"""The routes of the server: each function makes the `Call` of one, and is a method of both clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from twotower.client.bodies import Diversity, Event, Filters, Id, UserQuery
from twotower.client.calls import Call, in_path
from twotower.server.response_models import (
    EventsAnswer,
    ForgetAnswer,
    HealthAnswer,
    ItemAnswer,
    ItemsAnswer,
    MapAnswer,
    ModelAnswer,
    ModelsAnswer,
    OneListAnswer,
    PlacesAnswer,
    RecommendAnswer,
    ReloadAnswer,
    ScoreAnswer,
    SimilarAnswer,
    UserAnswer,
    UsersAnswer,
    UsersForAnswer,
)


def recommend(
    users: Iterable[Id | UserQuery],
    *,
    k: int = 10,
    exclude_seen: bool | None = None,
    allow: Iterable[Id] | None = None,
    deny: Iterable[Id] | None = None,
    filters: Filters | None = None,
    strict: bool = False,
    explain: int = 0,
    diversity: Diversity | Literal[False] | None = None,
) -> Call[RecommendAnswer]:
    """Recommend to one or many users, known or new; lists come in their order.

    Args:
        users: ids, or `UserQuery` for new users by features, by a history, or by both.
        k: length of a list.
        exclude_seen: whether to leave out what a user has seen; None for the server's setting.
        allow: only these items.
        deny: none of these items.
        filters: display column -> a value, several values, or a range.
        strict: whether an unknown item in ``allow`` or ``deny`` is an error.
        explain: how many of the user's items to name as reasons.
        diversity: rules for each list; None for those of the model, False for none.
    """
    body = {
        "users": list(users),
        "k": k,
        "exclude_seen": exclude_seen,
        "allow": allow,
        "deny": deny,
        "filters": filters,
        "strict": strict,
        "explain": explain,
        "diversity": diversity,
    }
    return Call("POST", "/v1/recommend", RecommendAnswer.model_validate_json, body=body)


def recommend_one(
    user_id: Id, *, k: int = 10, exclude_seen: bool | None = None, explain: int = 0
) -> Call[OneListAnswer]:
    """Recommend to one user who is known or has events."""
    params = {"k": k, "exclude_seen": exclude_seen, "explain": explain}
    path = f"/v1/recommend/{in_path(user_id)}"
    return Call("GET", path, OneListAnswer.model_validate_json, params)


def similar_items(item_id: Id, *, k: int = 10) -> Call[SimilarAnswer]:
    """Find the items that the same users would like."""
    return Call("GET", f"/v1/similar/{in_path(item_id)}", SimilarAnswer.model_validate_json, {"k": k})


def similar_items_among(
    item_id: Id,
    *,
    k: int = 10,
    allow: Iterable[Id] | None = None,
    deny: Iterable[Id] | None = None,
    filters: Filters | None = None,
    strict: bool = False,
) -> Call[SimilarAnswer]:
    """Find the items that the same users would like, among those that the filters leave; see `recommend`."""
    body = {"item_id": item_id, "k": k, "allow": allow, "deny": deny, "filters": filters, "strict": strict}
    return Call("POST", "/v1/similar", SimilarAnswer.model_validate_json, body=body)


def users_for(item_id: Id, *, k: int = 10) -> Call[UsersForAnswer]:
    """Find the trained users with the highest score for an item, of those who do not have it yet."""
    return Call("GET", f"/v1/users-for/{in_path(item_id)}", UsersForAnswer.model_validate_json, {"k": k})


def score(pairs: Iterable[tuple[Id, Id]], *, strict: bool = False) -> Call[ScoreAnswer]:
    """Score pairs of a user and an item; with ``strict`` an unknown id is an error."""
    body = {"pairs": [{"user_id": user, "item_id": item} for user, item in pairs], "strict": strict}
    return Call("POST", "/v1/score", ScoreAnswer.model_validate_json, body=body)


def send_events(events: Iterable[Event]) -> Call[EventsAnswer]:
    """Record what users did: all of it is stored or, if one event is wrong, none.

    An event counts once under its id, so it may be sent again. After a retry, ``duplicates`` of the answer
    has what the attempt before stored.
    """
    return Call("POST", "/v1/events", EventsAnswer.model_validate_json, body={"events": list(events)})


def put_item(item_id: Id, columns: Mapping[str, Any]) -> Call[ItemAnswer]:
    """Add an item by the columns of the items table; it can be recommended at once."""
    path = f"/v1/items/{in_path(item_id)}"
    return Call("PUT", path, ItemAnswer.model_validate_json, body={"columns": columns})


def delete_item(item_id: Id) -> Call[None]:
    """Remove an item. It is sent once: a second time would find no item."""
    return Call("DELETE", f"/v1/items/{in_path(item_id)}", lambda content: None, repeatable=False)


def delete_user(user_id: Id) -> Call[ForgetAnswer]:
    """Delete a user everywhere: events, history and vector.

    It is sent once, as its answer counts the events that this request deleted; it is safe to ask again.
    """
    path = f"/v1/users/{in_path(user_id)}"
    return Call("DELETE", path, ForgetAnswer.model_validate_json, repeatable=False)


def find_users(query: str = "", *, limit: int = 20) -> Call[UsersAnswer]:
    """Search users whose id begins with the query; an exact match comes first."""
    return Call("GET", "/v1/users", UsersAnswer.model_validate_json, {"query": query, "limit": limit})


def user(user_id: Id, *, limit: int = 100) -> Call[UserAnswer]:
    """Show a user's history, which is empty for an unknown user."""
    return Call("GET", f"/v1/users/{in_path(user_id)}", UserAnswer.model_validate_json, {"limit": limit})


def find_items(query: str = "", *, limit: int = 20) -> Call[ItemsAnswer]:
    """Search items by id and by the text of their display columns, in any script and case."""
    return Call("GET", "/v1/items", ItemsAnswer.model_validate_json, {"query": query, "limit": limit})


def item(item_id: Id) -> Call[ItemAnswer]:
    """Show an item."""
    return Call("GET", f"/v1/items/{in_path(item_id)}", ItemAnswer.model_validate_json)


def item_map() -> Call[MapAnswer]:
    """Show the item vectors in two dimensions."""
    return Call("GET", "/v1/map", MapAnswer.model_validate_json)


def places(items: Iterable[Id] = (), *, user: Id | UserQuery | None = None) -> Call[PlacesAnswer]:
    """Find items and a user on the map; unknown items are left out."""
    return Call("POST", "/v1/map", PlacesAnswer.model_validate_json, body={"items": items, "user": user})


def model() -> Call[ModelAnswer]:
    """Describe the model being served."""
    return Call("GET", "/v1/model", ModelAnswer.model_validate_json)


def models() -> Call[ModelsAnswer]:
    """List the models being served, and the share of the users that each answers."""
    return Call("GET", "/v1/models", ModelsAnswer.model_validate_json)


def set_traffic(shares: Mapping[str, float]) -> Call[ModelsAnswer]:
    """Change which percent of the users each model answers; a model left out gets 0."""
    return Call("POST", "/v1/admin/traffic", ModelsAnswer.model_validate_json, body={"shares": shares})


def reload(run: str | None = None) -> Call[ReloadAnswer]:
    """Load the bundles again, or that of one run. It is sent once: a second reload repeats the work."""
    params = {"run": run}
    return Call("POST", "/v1/admin/reload", ReloadAnswer.model_validate_json, params, repeatable=False)


def alive() -> Call[HealthAnswer]:
    """Ask whether the process is alive. It is sent once: the first answer is what was asked for."""
    return Call("GET", "/healthz", HealthAnswer.model_validate_json, repeatable=False)


def ready() -> Call[HealthAnswer]:
    """Ask whether requests can be answered; `Unavailable` if not. It is sent once, as `alive`."""
    return Call("GET", "/readyz", HealthAnswer.model_validate_json, repeatable=False)


def metrics() -> Call[str]:
    """Return the counters for Prometheus, as text."""
    return Call("GET", "/metrics", bytes.decode)
