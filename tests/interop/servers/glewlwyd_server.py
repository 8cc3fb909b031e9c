"""Debian glewlwyd, unpacked: JWT access tokens, which it introspects and revokes as well. Set up by its own API.

    python glewlwyd_server.py DIRECTORY     where the packages were unpacked
"""

import gzip
import http.cookiejar
import http.server
import json
import os
import re
import secrets
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from joserfc.jwk import ECKey

root = Path(sys.argv[1]).resolve()
work = tempfile.TemporaryDirectory(prefix="glewlwyd-")
REDIRECT = "http://127.0.0.1:1/callback"
RESOURCE = "https://billing.example.com"
SCOPES = ["billing:read", "billing:write", "billing:admin"]

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
base = f"http://127.0.0.1:{port}"
issuer = f"{base}/api/oidc"


def start():
    database = Path(work.name) / "glewlwyd.db"
    with sqlite3.connect(database) as connection:
        connection.executescript((root / "usr/share/dbconfig-common/data/glewlwyd/install/sqlite3").read_text())
    modules = root / "usr/lib/glewlwyd"
    (modules / "user_middleware").mkdir(exist_ok=True)
    config = Path(work.name) / "glewlwyd.conf"
    # The packaged one, with what is this one's own.
    text = gzip.decompress((root / "usr/share/doc/glewlwyd/glewlwyd.conf.sample.gz").read_bytes()).decode()
    own = {
        "port": str(port), "external_url": f'"{base}"', "cookie_domain": '"127.0.0.1"', "cookie_secure": "0",
        "log_level": '"ERROR"', "user_module_path": f'"{modules}/user"',
        "user_middleware_module_path": f'"{modules}/user_middleware"', "client_module_path": f'"{modules}/client"',
        "user_auth_scheme_module_path": f'"{modules}/scheme"', "plugin_module_path": f'"{modules}/plugin"',
        "static_files_path": f'"{root}/usr/share/glewlwyd/webapp/"',
    }
    for name, value in own.items():
        text = re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", text)
    text = re.sub(r'(?m)^  path = .*$', f'  path = "{database}"', text, count=1)
    config.write_text(f'bind_address="127.0.0.1"\n{text}')
    libraries = ":".join(str(path) for path in root.glob("usr/lib/*-linux-gnu"))
    # It ends with this process, however that ends.
    bound = Path(__file__).parents[2] / "servers/bound-to-parent.sh"
    return subprocess.Popen([bound, root / "usr/bin/glewlwyd", "-c", config], stdout=sys.stderr, stderr=sys.stderr,
                            env={**os.environ, "LD_LIBRARY_PATH": libraries})


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


class Session:
    """A browser's, or an administrator's."""

    def __init__(self, user, password):
        self.opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(
                strict_domain=False))), NoRedirect)
        self.call("POST", "/api/auth/", {"username": user, "password": password})

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(base + path, data, {"content-type": "application/json"}, method=method)
        try:
            with self.opener.open(request) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            if error.code >= 400:
                raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:500]}") from error
            return error.code, error.headers, b""


keys = []


def rotate():
    kid = secrets.token_hex(4)
    keys.insert(0, ECKey.generate_key("P-256", {"kid": kid, "alg": "ES256", "use": "sig"}, private=True))


def plugin():
    return {"module": "oidc", "name": "oidc", "display_name": "OIDC", "enabled": True, "parameters": {
        "iss": issuer, "jwt-type": "ecdsa", "jwt-key-size": "256",
        "jwks-private": json.dumps({"keys": [key.as_dict(private=True) for key in keys]}), "default-kid": keys[0].kid,
        "jwks-show": True, "access-token-duration": 600, "refresh-token-duration": 3600, "code-duration": 60,
        "refresh-token-rolling": False, "allow-non-oidc": True, "auth-type-code-enabled": True,
        "auth-type-client-enabled": True, "auth-type-refresh-enabled": True, "auth-type-token-enabled": False,
        "auth-type-password-enabled": False, "auth-type-implicit-enabled": False, "auth-type-none-enabled": False,
        "auth-type-device-enabled": False, "introspection-revocation-allowed": True,
        "introspection-revocation-allow-target-client": True, "pkce-allowed": True, "resource-allowed": True,
        "resource-client-property": "resource", "resource-change-allowed": True,
        "resource-scope": {scope: [RESOURCE] for scope in SCOPES}, "resource-scope-and-client-property": False,
        "scope": [], "subject-type": "public",
    }}


def client(name, **more):
    return {"client_id": name, "name": name, "password": f"{name}-secret", "client_secret": f"{name}-secret",
            "confidential": True, "enabled": True, "redirect_uri": [REDIRECT], "scope": SCOPES, "resource": [RESOURCE],
            "authorization_type": ["client_credentials", "code", "refresh_token"],
            "token_endpoint_auth_method": ["client_secret_basic", "client_secret_post"], **more}


process = start()
for attempt in range(100):
    try:
        administrator = Session("admin", "password")
        break
    except (urllib.error.URLError, ConnectionError):
        time.sleep(0.1)
for scope in SCOPES:
    administrator.call("POST", "/api/scope/", {"name": scope, "display_name": scope, "password_required": False, "scheme": {}})
rotate()
administrator.call("POST", "/api/mod/plugin/", plugin())
for name in ("billing-sync", "gateway"):
    administrator.call("POST", "/api/client/", client(name))
administrator.call("POST", "/api/user/", {"username": "alice", "password": "alice-password", "enabled": True,
                                          "scope": [*SCOPES, "g_profile", "openid"]})


class Control(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        rotate()
        administrator.call("PUT", "/api/mod/plugin/oidc", plugin())
        administrator.call("PUT", "/api/mod/plugin/oidc/reset", {})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def do_GET(self):
        """What the login page does: the user logs in, consents, and is led back."""
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        user = Session("alice", "alice-password")
        scope = query["scope"][0]
        user.call("PUT", f"/api/auth/grant/{query['client_id'][0]}", {"scope": scope})
        path = "/api/oidc/auth?g_continue&" + urllib.parse.urlparse(self.path).query
        _, headers, _ = user.call("GET", path)
        self.send_response(302)
        self.send_header("location", headers["location"])
        self.end_headers()

    def log_message(self, *args):
        pass


control = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Control)
threading.Thread(target=control.serve_forever, daemon=True).start()
print(json.dumps({
    "ready": True, "port": port, "issuer": issuer, "control": control.server_port,
    "authorization_port": control.server_port,
    "token": "/api/oidc/token", "jwks": "/api/oidc/jwks", "introspection": "/api/oidc/introspect",
    "revocation": "/api/oidc/revoke", "authorization": "/authorize",
    "metadata": "/api/oidc/.well-known/openid-configuration",
    "formats": {"jwt": {"resource": RESOURCE}}, "methods": ["client_secret_basic"],
    "provider": {"audiences": [RESOURCE], "required_values": {"type": ["access_token"]}},
    # It introspects its JWTs, for the client that they were issued to.
    "introspection_keys": {"apply_to": "all", "client_auth": {
        "method": "client_secret_basic", "client_id": "billing-sync", "client_secret": {"value": "billing-sync-secret"}}},
    "cannot": {
        "opaque, basic": "its access tokens are JWTs",
        "opaque, post": "its access tokens are JWTs",
    },
}), flush=True)
sys.stdin.read()
process.terminate()
