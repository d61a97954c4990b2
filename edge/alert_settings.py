"""What site.yaml says of local alerts: rules that are changed, and whom they are told besides the cloud.

Commands and addresses come from this local file only; nothing that arrives over a network can set them.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated

import httpx
from pydantic import AfterValidator, Field

from devices.document import Mistake, Path_, SecretText, Section
from devices.expectations import nearest_key
from devices.point import Id
from devices.rules import Mode, Override, Rule, SiteRules, Where, known_rules, rules_of_site, site_rule_mistakes

PORT_MAX = 65_535
ARGUMENTS_MAX = 64
_Argument = Annotated[str, Field(max_length=4096)]


def _checked_command(argv: tuple[str, ...]) -> tuple[str, ...]:
    if "\x00" in "".join(argv):
        raise ValueError("a command holds no NUL")
    if not Path(argv[0]).is_absolute():
        raise ValueError(f"{argv[0]!r} is no absolute path: a command is named by its full path, and there is no shell")
    if not os.access(argv[0], os.X_OK) or Path(argv[0]).is_dir():
        raise ValueError(f"{argv[0]} cannot be executed")
    return argv


Command = Annotated[
    tuple[_Argument, ...], Field(min_length=1, max_length=ARGUMENTS_MAX), AfterValidator(_checked_command)
]


class Webhook(Section):
    """Where each local alert is POSTed as JSON. `token` goes into `Authorization: Bearer`."""

    url: str
    token: SecretText | None = None
    allow_plain_http: bool = False


class AlertSettings(Section):
    """`connection` names the MQTT connection whose broker gets the alerts; without it the first one does.

    `overrides` change packaged rules, `rules` add own ones. `command` is an argument list, run without a shell with
    the alert as JSON on its standard input.
    """

    publish: bool = True
    connection: Id | None = None
    command: Command | None = None
    webhook: Webhook | None = None
    overrides: tuple[Override, ...] = ()
    rules: tuple[Rule, ...] = ()

    @property
    def site_rules(self) -> SiteRules:
        """The changes of rules, as the cloud has them too."""
        return SiteRules(overrides=self.overrides, rules=self.rules)


def rules_at_edge(settings: AlertSettings) -> list[Rule]:
    """The rules that a gateway with these settings evaluates and tells of; a shadow rule is the cloud's alone."""
    rules = rules_of_site(known_rules(), settings.site_rules)
    return [rule for rule in rules.values() if rule.at is Where.EDGE and rule.mode is Mode.LIVE]


def alert_mistakes(
    settings: AlertSettings, brokers: Mapping[str, bool], is_loopback: Callable[[str], bool]
) -> Iterable[Mistake]:
    """What single values cannot show. `brokers` says of each connection whether it is one to a broker."""
    at: Path_ = ("local_alerts",)
    rules = known_rules()
    yield from site_rule_mistakes(settings.site_rules, rules, at)
    for index, override in enumerate(settings.overrides):
        known = rules.get(override.rule)
        if known is not None and known.at is not Where.EDGE:
            message = f"{override.rule!r} is judged in the cloud: change it there"
            yield Mistake((*at, "overrides", index, "rule"), message)
    for index, rule in enumerate(settings.rules):
        if rule.at is not Where.EDGE:
            yield Mistake((*at, "rules", index, "id"), f"{rule.id!r} needs `at: edge` to be judged here")
    name = settings.connection
    if name is not None and name not in brokers:
        yield Mistake((*at, "connection"), f"there is no connection {name!r}{nearest_key(name, list(brokers))}")
    elif name is not None and not brokers[name]:
        yield Mistake((*at, "connection"), f"the connection {name!r} has no MQTT broker")
    if settings.webhook is not None:
        yield from _webhook_mistakes(settings.webhook, (*at, "webhook"), is_loopback)


def _webhook_mistakes(webhook: Webhook, at: Path_, is_loopback: Callable[[str], bool]) -> Iterable[Mistake]:
    mistake = _url_mistake(webhook, is_loopback)
    if mistake:
        yield Mistake((*at, "url"), mistake)
    token = "" if webhook.token is None else webhook.token.reveal()
    if webhook.token is not None and not (token and all("!" <= letter <= "~" for letter in token)):
        yield Mistake((*at, "token"), "a token is printable ASCII without spaces: it goes into a header")


def _url_mistake(webhook: Webhook, is_loopback: Callable[[str], bool]) -> str:
    """What is wrong with the address, as the client that will use it reads it; empty when nothing is."""
    try:
        url = httpx.URL(webhook.url)
        host = url.host  # decodes a name of other scripts
        host.encode("idna")
    except (httpx.InvalidURL, ValueError) as error:
        return f"no address that can be used: {error}"
    if url.scheme not in {"http", "https"} or not host:
        return "expected a URL like https://alerts.example/hook"
    if url.port is not None and not 1 <= url.port <= PORT_MAX:
        return f"a port is 1 to {PORT_MAX}, not {url.port}"
    if url.userinfo:
        return "a URL holds no user and no password: use token"
    if url.scheme == "http" and not webhook.allow_plain_http and not is_loopback(host):
        return "plain http leaves this machine: use https, or set allow_plain_http"
    return ""
