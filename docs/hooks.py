# SPDX-License-Identifier: Apache-2.0
"""mkdocs: links that leave docs/ point at files of the repository; on the site they become links to `repo_url`, or
plain text where none is set."""

import re

OUTSIDE = re.compile(r"(?<!!)\[([^\]]+)\]\(\.\./([^)#]+)(#[^)]*)?\)")


def on_page_markdown(markdown, page, config, files):
    """Called by mkdocs for every page."""

    def replace(match):
        text, path, anchor = match.groups()
        if not config.repo_url:
            return text
        return f"[{text}]({config.repo_url.rstrip('/')}/blob/main/{path}{anchor or ''})"

    return OUTSIDE.sub(replace, markdown)
