"""The profiles that a site may name: the packaged ones, and those of its own folder."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from devices.errors import ConfigurationError, Problem
from devices.profile import LoadedProfile, load_profile, packaged_ids, packaged_profile


class KnownProfiles(Mapping[str, LoadedProfile]):
    """The packaged profiles and a site's own, by id. A packaged one is read when somebody asks for it."""

    def __init__(self, own: Mapping[str, LoadedProfile]) -> None:
        self._own = dict(own)
        self._ids = [*packaged_ids(), *self._own]

    def __getitem__(self, profile_id: str) -> LoadedProfile:
        if profile_id in self._own:
            return self._own[profile_id]
        if profile_id not in self._ids:
            raise KeyError(profile_id)
        return packaged_profile(profile_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)


def known_profiles(own: Path | None) -> KnownProfiles:
    """The packaged profiles and those of a site's own folder.

    Raises ConfigurationError, also when an own profile has the id of a packaged one: an id means one thing.
    """
    found = {} if own is None else _profiles_in(own)
    taken = sorted(found.keys() & set(packaged_ids()))
    if taken:
        raise ConfigurationError(
            [Problem(str(own), 0, 0, f"the id {name!r} is that of a packaged profile") for name in taken]
        )
    return KnownProfiles(found)


def _profiles_in(folder: Path) -> dict[str, LoadedProfile]:
    if not folder.is_dir():
        raise ConfigurationError([Problem(str(folder), 0, 0, "is no folder of profiles")])
    problems: list[Problem] = []
    found: dict[str, LoadedProfile] = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            profile = load_profile(path)
        except ConfigurationError as error:
            problems += error.problems
            continue
        if profile.id in found:
            problems.append(Problem(str(path), 0, 0, f"the id {profile.id!r} is that of another file here"))
        found[profile.id] = profile
    if problems:
        raise ConfigurationError(problems)
    return found
