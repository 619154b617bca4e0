"""Packages schemas, transforms and pipeline as `account-rescoring`; Dataflow workers install this."""

from setuptools import find_packages, setup

setup(
    name="account-rescoring",
    version="0.1.0",
    description="Rescores Salesforce accounts with Gemini as they change: Pub/Sub to BigQuery on Apache Beam",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["pipeline", "pipeline.*", "schemas", "schemas.*", "transforms", "transforms.*"]),
    package_data={
        "transforms": ["prompts/*/*", "sql/*", "py.typed"],
        "schemas": ["py.typed"],
        "pipeline": ["py.typed"],
        "pipeline.local.crm": ["*.toml"],
    },
    install_requires=[
        "apache-beam[gcp]>=2.77,<2.78",
        "google-cloud-bigquery>=3.40",
        "google-cloud-pubsub>=2.30",
        "google-genai>=2.30,<3",
        "httpx>=0.28",
        "aiohttp>=3.10",
        "orjson>=3.10",
        "pydantic>=2.12,<3",
        "rich>=14",
        "structlog>=25",
        "tenacity>=9",
        "typer>=0.20",
    ],
    extras_require={
        # The local stack: the BigQuery emulator and what the Gemini stand-in and the token endpoint stand on.
        "local": [
            "bqemulator==1.4.0",
            "cryptography>=44",
            # bqemulator needs one DuckDB, with the spatial extension of the same version shipped as a wheel.
            "duckdb==1.5.5",
            "duckdb-extensions==1.5.5",
            "duckdb-extension-spatial==1.5.5",
            "jsonschema>=4.20",
            "starlette>=0.50",
            "uvicorn[standard]>=0.40",
        ],
        "dev": [
            "hypothesis>=6.150",
            "import-linter>=2.5",
            "mypy>=1.18",
            "pre-commit>=4",
            "pytest>=9",
            "pytest-benchmark>=5.1",
            "pytest-cov>=7",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.8",
            "ruff>=0.14",
            "setuptools>=80",
            "types-jsonschema",
            "types-PyYAML",
            "uv>=0.9",
            "wheel",
        ],
    },
    entry_points={"console_scripts": ["rescore = pipeline.cli:main"]},
)
