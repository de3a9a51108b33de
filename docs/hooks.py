# SPDX-License-Identifier: Apache-2.0
"""mkdocs: files of the repository become part of the site, and formulas become MathML, so that the site needs no
network."""

import html
import os.path
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "repository/"
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#])")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def in_repository(uri, target=""):
    """Path in the repository of a page of the site, or of a file that the page links to."""
    path = uri.removeprefix(FOLDER) if uri.startswith(FOLDER) else f"docs/{uri}"
    return os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path


def site_uri(path):
    """Address on the site of a file of the repository."""
    return path.removeprefix("docs/") if path.startswith("docs/") else FOLDER + path


def on_files(files, config):
    """Called by mkdocs: adds the files outside docs/ that pages link to, and those that these link to."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        uri = waiting.pop()
        text = (ROOT / in_repository(uri)).read_text(encoding="utf-8")
        for target in LINK.findall(text):
            path = in_repository(uri, target)
            if (
                path.startswith(("docs/", ".."))
                or not (ROOT / path).is_file()
                or files.get_file_from_path(site_uri(path))
            ):
                continue
            added = File.generated(
                config, site_uri(path), abs_src_path=str(ROOT / path), inclusion=InclusionLevel.NOT_IN_NAV
            )
            files.append(added)
            if path.endswith(".md"):
                waiting.append(added.src_uri)
    return files


def on_page_markdown(markdown, page, config, files):
    """Called by mkdocs for every page: links to files of the repository lead to their copies on the site."""
    uri = page.file.src_uri

    def replace(match):
        path = in_repository(uri, match[0])
        if not (ROOT / path).is_file():
            return match[0]
        return os.path.relpath(site_uri(path), os.path.dirname(uri) or ".")

    return LINK.sub(replace, markdown)


def on_page_content(content, page, config, files):
    """Called by mkdocs for every page: formulas as MathML."""

    def replace(match):
        return convert(html.unescape(match[2]).strip(), display="block" if match[1] == "div" else "inline")

    return FORMULA.sub(replace, content)
