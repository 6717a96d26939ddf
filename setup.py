"""Packaging of chatproto; the tools' settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
README = HERE / "README.md"

setup(
    name="chatproto",
    version="0.1.0",
    description="Chat that survives its servers: rooms over line JSON, one ordered durable log, on Twisted.",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    author="the chatproto founders",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    # Without this line an editable install of a flat layout maps `chatproto` and nothing else, and
    # twistd finds the plugin in this folder only. With it the folder itself goes on the path.
    package_dir={"": "."},
    # `twisted.plugins` is a folder without __init__.py that Twisted's own package extends itself
    # with; find_packages does not see it, and a wheel would come without the plugin.
    packages=[*find_packages(".", include=["chatproto", "chatproto.*"]), "twisted.plugins"],
    package_data={
        "chatproto": ["py.typed", "gateway/static/*", "news/proxy/static/*"],
        "twisted.plugins": ["chatproto_plugin.py", "chatproto_endpoints.py"],
    },
    install_requires=["Twisted[tls]>=24", "cryptography>=42", "service-identity", "msgspec", "websockets>=15"],
    extras_require={
        "terminal": ["textual"],
        "metrics": ["prometheus_client"],
        "docs": ["sphinx", "myst-parser"],
        "test": ["pytest", "pytest-twisted", "pytest-xdist", "hypothesis", "coverage", "playwright", "trustme"],
        "check": ["ruff", "mypy", "mypy-zope", "import-linter"],
        "bench": ["matplotlib"],
    },
    entry_points={"console_scripts": ["chatproto = chatproto.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Communications :: Chat",
        "Typing :: Typed",
    ],
)
