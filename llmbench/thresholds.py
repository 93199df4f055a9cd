"""How large a change must be to matter, where nobody says otherwise."""

FIRST_TOKEN_SHARE = 0.05
OTHER_SHARE = 0.03


def default_share(metric: str) -> float:
    """The share of a metric's value below which its change does not matter: first tokens vary more than others."""
    return FIRST_TOKEN_SHARE if metric == "first_token" else OTHER_SHARE
