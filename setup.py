"""Installs the folder `src` under the import name `moondev_ibkr`."""

from setuptools import find_packages, setup

setup(
    package_dir={"moondev_ibkr": "src"},
    packages=["moondev_ibkr", *("moondev_ibkr." + package for package in find_packages("src"))],
    package_data={"moondev_ibkr": ["py.typed", "**/*.csv", "**/*.json"]},
)
