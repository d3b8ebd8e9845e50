"""Who may do what without accounts: the OCI face is open, the hold API asks for the secret or for this machine."""

import pytest

from auth.policy import Action, Decision, policy_of
from auth.principals import ANONYMOUS, LOCAL, SIGNED, Principal, recogniser
from model import names
from model.errors import NameInvalid

TOKEN = "correct-horse-battery"
TRUSTED = recogniser(TOKEN)(f"Bearer {TOKEN}", False)
NOBODYS, HOLDS = names.hidden_repository("-"), names.hidden_repository("hold")
OPEN, TOKENED = policy_of(hold_token_set=False), policy_of(hold_token_set=True)


@pytest.mark.parametrize("policy", [OPEN, TOKENED])
@pytest.mark.parametrize("action", [each for each in Action if each is not Action.HOLD])
@pytest.mark.parametrize("principal", [ANONYMOUS, LOCAL, TRUSTED])
def test_whoever_reaches_it_may_do_everything_but_the_hold_api(policy, action: Action, principal: Principal) -> None:
    assert policy(principal, action, "lab/tools") is Decision.ALLOW


@pytest.mark.parametrize("repository", ["", "lab/tools"])
def test_without_a_secret_the_hold_api_is_open_to_this_machine_alone(repository: str) -> None:
    """H036, H145: nobody else could prove anything, so nobody is asked to."""
    assert OPEN(LOCAL, Action.HOLD, repository) is Decision.ALLOW
    assert OPEN(ANONYMOUS, Action.HOLD, repository) is Decision.CLOSED


@pytest.mark.parametrize("repository", ["", "lab/tools"])
def test_with_a_secret_the_hold_api_asks_everybody_for_it(repository: str) -> None:
    """H145, H151: this machine's callers as well, since a proxy may be one of them."""
    assert TOKENED(TRUSTED, Action.HOLD, repository) is Decision.ALLOW
    assert TOKENED(ANONYMOUS, Action.HOLD, repository) is Decision.DENY
    assert TOKENED(LOCAL, Action.HOLD, repository) is Decision.DENY


@pytest.mark.parametrize("action", [Action.PULL, Action.PUSH, Action.DELETE])
def test_a_hidden_repository_is_there_for_its_owner_alone(action: Action) -> None:
    for policy in (OPEN, TOKENED):
        assert policy(TRUSTED, action, HOLDS) is Decision.ALLOW
        assert policy(LOCAL, action, NOBODYS) is Decision.ALLOW
        for principal, repository in ((LOCAL, HOLDS), (ANONYMOUS, HOLDS), (TRUSTED, NOBODYS)):
            assert policy(principal, action, repository) is Decision.HIDE


def test_somebody_anonymous_from_elsewhere_owns_no_hidden_repository() -> None:
    """Two of them are not one and the same."""
    assert OPEN(ANONYMOUS, Action.PULL, NOBODYS) is Decision.HIDE
    assert OPEN(ANONYMOUS, Action.HOLD, NOBODYS) is Decision.CLOSED


def test_the_right_to_write_does_not_open_somebody_elses_hidden_repository() -> None:
    assert TOKENED(TRUSTED, Action.HOLD, HOLDS) is Decision.ALLOW
    assert TOKENED(TRUSTED, Action.HOLD, names.hidden_repository("ada")) is Decision.HIDE


@pytest.mark.parametrize("action", Action)
def test_a_signed_url_is_its_own_authority(action: Action) -> None:
    """H147: between start and completion the URL carries it."""
    for repository in ("", "lab/tools", HOLDS, NOBODYS):
        assert TOKENED(SIGNED, action, repository) is Decision.ALLOW


@pytest.mark.parametrize(
    "authorization",
    [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"  BEARER   {TOKEN}  "],
)
@pytest.mark.parametrize("local", [False, True])
def test_the_secret_is_proved_by_bearer(authorization: str, local: bool) -> None:
    principal = recogniser(TOKEN)(authorization, local)
    assert (principal.name, principal.trusted, principal.anonymous, principal.local) == ("hold", True, False, local)


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        TOKEN,
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN} {TOKEN}",
        f"Basic {TOKEN}",
        f"Bearer{TOKEN}",
        "Bearer \udcff\udcfe",
        "Bearer é",
    ],
)
def test_anything_else_makes_nobody_in_particular(authorization: str | None) -> None:
    """H151: a claim is no proof, and no error either."""
    assert recogniser(TOKEN)(authorization, False) is ANONYMOUS
    assert recogniser(TOKEN)(authorization, True) is LOCAL


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer", "Bearer x", ""])
def test_where_there_is_no_secret_nobody_proves_it(authorization: str | None) -> None:
    assert not recogniser("")(authorization, True).trusted


def test_no_client_can_spell_a_hidden_repository() -> None:
    for owner in ("-", "", "hold", "ada", "did:plc:abc123"):
        name = names.hidden_repository(owner)
        assert names.is_hidden(name)
        assert names.known_repository(name) == name
        with pytest.raises(NameInvalid):
            names.repository(name)
    assert names.hidden_repository("") == names.hidden_repository("-")
    assert not names.is_hidden("lab/_hold")


@pytest.mark.parametrize("owner", ["../x", "a/b", ".", "a\nb", "x" * 300, "é"])
def test_an_owner_that_cannot_be_part_of_a_name_has_no_hidden_repository(owner: str) -> None:
    with pytest.raises(NameInvalid):
        names.hidden_repository(owner)
    with pytest.raises(NameInvalid):
        names.known_repository(f"_hold/{owner}")


def test_hidden_names_stand_together_in_a_list() -> None:
    listed = sorted(["9/lab", "a", "z", NOBODYS, HOLDS, names.hidden_repository("zoe"), names.BEHIND_HIDDEN])
    assert listed[0] == "9/lab"
    assert listed[4:] == [names.BEHIND_HIDDEN, "a", "z"]
