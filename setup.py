"""Installs the folder `src` under the import name `moondev_ibkr`, with one extension where a C compiler is there."""

from setuptools import Extension, find_packages, setup

FAST_TICKS = "brokers/interactive_brokers/ib_async_client/fast_ticks"


def extensions() -> list[Extension]:
    """The decoder of ticks in C; none without Cython. One that does not compile is left out."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    name = "moondev_ibkr." + FAST_TICKS.replace("/", ".")
    found: list[Extension] = cythonize([Extension(name, [f"src/{FAST_TICKS}.pyx"])], build_dir="build/cython")
    for extension in found:
        extension.optional = True  # cythonize does not take it over from what it is given
    return found


setup(
    package_dir={"moondev_ibkr": "src"},
    packages=["moondev_ibkr", *("moondev_ibkr." + package for package in find_packages("src"))],
    package_data={"moondev_ibkr": ["py.typed", "**/*.csv", "**/*.json", "**/*.pyi", "**/*.pyx"]},
    ext_modules=extensions(),
)
