"""The OpenAPI document: what FastAPI derives from the routes, with how to authenticate.

python -m pipeline.api.openapi docs/api/openapi.yaml     # `make generate` does
"""

import sys
from pathlib import Path
from typing import Any, Final

import yaml
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from pipeline.api.documents import ProblemDocument
from pipeline.api.gate import OPEN_PATHS

_SECURITY: Final = {
    "google": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of OpenID Connect that Google signed, for this service's audience, with an email that "
        "is on the allow-list. Behind Identity-Aware Proxy its header x-goog-iap-jwt-assertion takes its place.",
    },
    "webhook": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Rescore-Signature",
        "description": "t=SECONDS,n=NONCE,v1=HEX, with X-Rescore-Webhook: NAME; for change events only. "
        "docs/api/README.md says what is signed.",
    },
}


def described(app: FastAPI) -> dict[str, Any]:
    """Return the document of an app."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes, tags=app.openapi_tags
        )
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        definition = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= definition.pop("$defs", {}) | {"ProblemDocument": definition}
        components["securitySchemes"] = _SECURITY
        for path, methods in document["paths"].items():
            if path not in OPEN_PATHS:
                for operation in methods.values():
                    is_for_webhooks = path == "/v1/change-events"
                    operation["security"] = [{"google": []}, *([{"webhook": []}] if is_for_webhooks else [])]
        app.openapi_schema = document
    return app.openapi_schema


def document_text() -> str:
    """Return the document as YAML."""
    from pipeline.api.application import create_routes  # noqa: PLC0415 - it imports this module

    return yaml.safe_dump(described(create_routes()), sort_keys=False, allow_unicode=True, width=120)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(document_text(), encoding="utf-8")
