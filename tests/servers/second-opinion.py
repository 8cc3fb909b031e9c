"""What PyJWT says of tokens: {"jwks", "issuer", "audience", "algorithms", "tokens"} in, a list of whether each is good out."""

import json
import sys

import jwt

asked = json.load(sys.stdin)
keys = {key.key_id: key.key for key in jwt.PyJWKSet.from_dict(asked["jwks"]).keys}


def is_good(token):
    try:
        key = keys[jwt.get_unverified_header(token)["kid"]]
        jwt.decode(
            token,
            key,
            algorithms=asked["algorithms"],
            issuer=asked["issuer"],
            audience=asked["audience"],
            leeway=60,
            options={"require": ["exp"]},
        )
        return True
    except Exception:  # Whatever it is, the token is not taken.
        return False


json.dump([is_good(token) for token in asked["tokens"]], sys.stdout)
