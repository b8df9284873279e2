"""Hooks of MkDocs: pages that are made at build time, and links between docs/ and the rest of the repository.

mkdocs.yml names this file. MkDocs puts its folder on the path while it loads it.
"""

from __future__ import annotations

from mkdocs.structure.files import File, Files, InclusionLevel
from rendering import ROOT, pages, relinked


def on_files(files: Files, config) -> Files:
    """Adds results/, the gallery, the notebooks and the repository's own documents."""
    made, beside = pages()
    for path, markdown in made.items():
        # The navigation names some of them; the others are reached by links.
        files.append(File.generated(config, path, content=markdown, inclusion=InclusionLevel.NOT_IN_NAV))
    for path in beside:
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page, config, files: Files) -> str:
    """Links of docs/ that lead out of it, as GitHub and an editor follow them, lead to pages of the site."""
    return markdown if page.file.generated_by else relinked(markdown, f"docs/{page.file.src_uri}")
