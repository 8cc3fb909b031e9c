"""PyPI Authlib on Flask: JWT access tokens (RFC 9068) and opaque ones, introspection (RFC 7662), revocation (RFC 7009)."""

import json
import os
import sys
import threading
import time

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6749.models import ClientMixin, TokenMixin, AuthorizationCodeMixin
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from flask import Flask, jsonify, request
from joserfc.jwk import ECKey
from werkzeug.serving import WSGIRequestHandler, make_server

REDIRECT = "http://127.0.0.1:1/callback"
state = {"tokens": [], "codes": {}, "keys": []}


class Client(ClientMixin):
    def __init__(self, client_id, secret):
        self.client_id, self.secret = client_id, secret

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return REDIRECT

    def get_allowed_scope(self, scope):
        return scope or ""

    def check_redirect_uri(self, uri):
        return uri == REDIRECT

    def check_client_secret(self, secret):
        return secret == self.secret

    def check_endpoint_auth_method(self, method, endpoint):
        return method in ("client_secret_basic", "client_secret_post")

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return True


class User:
    def get_user_id(self):
        return "alice"


class Token(TokenMixin):
    def __init__(self, token, client_id, user):
        self.token, self.client_id, self.user = token, client_id, user
        self.scope, self.issued_at, self.revoked = token.get("scope", ""), int(time.time()), False

    def check_client(self, client):
        return True

    def get_scope(self):
        return self.scope

    def get_expires_in(self):
        return self.token["expires_in"]

    def is_expired(self):
        return False

    def is_revoked(self):
        return self.revoked

    def get_user(self):
        return self.user

    def get_client(self):
        return clients[self.client_id]


class Code(AuthorizationCodeMixin):
    def __init__(self, request, scope):
        self.redirect_uri, self.scope, self.client_id = request.payload.redirect_uri, scope, request.client.client_id

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope

    def is_expired(self):
        return False


clients = {c.client_id: c for c in (Client("billing-sync", "billing-sync-secret"), Client("gateway", "gateway-secret"))}
app = Flask(__name__)
app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
server = AuthorizationServer(
    app,
    query_client=clients.get,
    save_token=lambda token, request: state["tokens"].append(Token(token, request.client.client_id, request.user)),
)


class CodeGrant(grants.AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def save_authorization_code(self, code, request):
        state["codes"][code] = Code(request, request.payload.scope)

    def query_authorization_code(self, code, client):
        return state["codes"].get(code)

    def delete_authorization_code(self, authorization_code):
        state["codes"] = {code: kept for code, kept in state["codes"].items() if kept is not authorization_code}

    def authenticate_user(self, authorization_code):
        return User()


class ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]


class Refresh(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def authenticate_refresh_token(self, refresh_token):
        return next((t for t in state["tokens"] if t.token.get("refresh_token") == refresh_token), None)

    def authenticate_user(self, refresh_token):
        return refresh_token.user

    def revoke_old_credential(self, refresh_token):
        pass


def find(token):
    return next((t for t in state["tokens"] if token in (t.token["access_token"], t.token.get("refresh_token"))), None)


class Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def query_token(self, token_string, token_type_hint):
        return find(token_string)

    def check_permission(self, token, client, request):
        return client.client_id == "gateway"

    def introspect_token(self, token):
        return {
            "active": not token.revoked,
            "client_id": token.client_id,
            "token_type": "Bearer",
            "username": None,
            "scope": token.scope,
            "sub": token.user.get_user_id() if token.user else token.client_id,
            "aud": "billing-api",
            "iss": app.config["ISSUER"],
            "exp": token.issued_at + token.token["expires_in"],
            "iat": token.issued_at,
        }


class Revocation(RevocationEndpoint):
    CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]

    def query_token(self, token_string, token_type_hint):
        return find(token_string)

    def revoke_token(self, token, request):
        token.revoked = True


class Jwts(JWTBearerTokenGenerator):
    def get_jwks(self):
        return {"keys": [state["keys"][0].as_dict(private=True)]}

    def get_audiences(self, client, user, scope):
        return ["billing-api"]

    def access_token_generator(self, client, grant_type, user, scope):
        # A form parameter of this server's own says who wants an opaque one.
        if request.form.get("format") == "opaque":
            return os.urandom(24).hex()
        return super().access_token_generator(client, grant_type, user, scope)


def rotate():
    kid = os.urandom(4).hex()
    state["keys"].insert(0, ECKey.generate_key("P-256", {"kid": kid, "alg": "ES256", "use": "sig"}, private=True))


for grant in (CodeGrant, ClientCredentials, Refresh):
    server.register_grant(grant)
for endpoint in (Introspection, Revocation):
    server.register_endpoint(endpoint)


@app.post("/oauth/token")
def token():
    return server.create_token_response()


@app.post("/oauth/introspect")
def introspect():
    return server.create_endpoint_response(Introspection.ENDPOINT_NAME)


@app.post("/oauth/revoke")
def revoke():
    return server.create_endpoint_response(Revocation.ENDPOINT_NAME)


@app.get("/oauth/authorize")
def authorize():
    grant = server.get_consent_grant(end_user=User())
    return server.create_authorization_response(grant=grant, grant_user=User())


@app.get("/jwks.json")
def jwks():
    return jsonify({"keys": [key.as_dict(private=False) for key in state["keys"]]})


@app.post("/rotate")
def rotated():
    rotate()
    return {}


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args):
        pass


httpd = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
issuer = f"http://127.0.0.1:{httpd.server_port}"
app.config["ISSUER"] = issuer
rotate()
server.register_token_generator(
    "default",
    Jwts(issuer=issuer, alg="ES256", refresh_token_generator=lambda *args, **kwargs: os.urandom(24).hex(),
         expires_generator=lambda *args, **kwargs: 600),
)
threading.Thread(target=httpd.serve_forever, daemon=True).start()
print(json.dumps({
    "ready": True, "port": httpd.server_port, "issuer": issuer, "control": httpd.server_port,
    "token": "/oauth/token", "jwks": "/jwks.json", "introspection": "/oauth/introspect", "revocation": "/oauth/revoke",
    "authorization": "/oauth/authorize",
    "formats": {"jwt": {}, "opaque": {"format": "opaque"}},
    "methods": ["client_secret_basic", "client_secret_post"],
    # As its page says.
    "provider": {"profile": "rfc9068"},
    "cannot": {"discovery": "the library serves no metadata by itself"},
}), flush=True)
sys.stdin.read()
