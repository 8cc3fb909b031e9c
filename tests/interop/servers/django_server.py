"""PyPI django-oauth-toolkit: opaque tokens in a database, introspection and revocation."""

import json
import sys
import tempfile
import threading

import django
from django.conf import settings

directory = tempfile.TemporaryDirectory(prefix="django-")
settings.configure(
    SECRET_KEY="only for tests", DEBUG=False, ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    # In a file: threads that share a database in memory do not wait for each other's locks.
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{directory.name}/interop.db"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "oauth2_provider"],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    OAUTH2_PROVIDER={
        "SCOPES": {"billing:read": "r", "billing:write": "w", "billing:admin": "a", "introspection": "i"},
        "PKCE_REQUIRED": False, "ALLOWED_REDIRECT_URI_SCHEMES": ["http"],
    },
)
django.setup()

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application
from django.urls import include, path
from oauth2_provider.models import Application
from oauth2_provider.views import AuthorizationView


class Authorization(AuthorizationView):
    """As if the user were logged in; the toolkit's own view asks for consent only where the application does not skip it."""

    def dispatch(self, request, *args, **kwargs):
        login(request, User.objects.get(username="alice"), backend="django.contrib.auth.backends.ModelBackend")
        return super().dispatch(request, *args, **kwargs)


urlpatterns = [
    path("o/authorize/", Authorization.as_view()),
    path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
]

call_command("migrate", verbosity=0)
alice = User.objects.create_user("alice", password="alice-password")
common = {"client_type": Application.CLIENT_CONFIDENTIAL, "user": alice, "redirect_uris": "http://127.0.0.1:1/callback",
          "skip_authorization": True}
# An application has one grant.
Application.objects.create(client_id="billing-sync", client_secret="billing-sync-secret", name="sync",
                           authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS, **common)
Application.objects.create(client_id="billing-app", client_secret="billing-app-secret", name="app",
                           authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE, **common)
Application.objects.create(client_id="gateway", client_secret="gateway-secret", name="gateway",
                           authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS, **common)


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


httpd = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
httpd.set_app(get_wsgi_application())
threading.Thread(target=httpd.serve_forever, daemon=True).start()
port = httpd.server_port
print(json.dumps({
    "ready": True, "port": port, "issuer": f"http://127.0.0.1:{port}",
    "token": "/o/token/", "introspection": "/o/introspect/", "revocation": "/o/revoke_token/",
    "authorization": "/o/authorize/", "code_client": "billing-app",
    "formats": {"opaque": {}}, "methods": ["client_secret_basic"],
    "bearer_scope": "introspection",
    # A response has neither `aud` nor `token_type`, and no `iss`.
    "provider": {"issuer": None, "audiences": None, "allow_any_audience": True},
    "introspection_keys": {"required_members": ["client_id"]},
    "cannot": {
        "client credentials, JWT": "its access tokens are opaque",
        "code, JWT": "its access tokens are opaque",
        "rotation": "its access tokens are opaque",
        "discovery": "its metadata are for OpenID Connect, which needs keys",
        "opaque, post": "its introspection endpoint reads HTTP Basic or a bearer token",
    },
}), flush=True)
sys.stdin.read()
