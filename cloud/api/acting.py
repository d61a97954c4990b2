"""Who does what a request asks for. The one place that knows, so that signing in changes nothing else."""

from starlette.requests import Request

from cloud.api.problems import unusable

ACTOR_LENGTH_MAX = 100  # characters


def actor_of(request: Request, body_actor: str | None) -> str:
    """The name under which a change is recorded: whom the body names, until people sign in.

    What signs people in leaves their name in `request.state.actor`; then nobody can write under another one.
    Raises Problem (422) where nobody is named.
    """
    signed_in: str | None = getattr(request.state, "actor", None)
    name = (signed_in or body_actor or "").strip()
    if not name or len(name) > ACTOR_LENGTH_MAX:
        raise unusable("/body/actor", f"a name of 1 to {ACTOR_LENGTH_MAX} characters is needed", "actor_missing")
    return name
