"""``riskscale generate``: a typed module in another language, made of the manifest and that language's template.

A language is a folder of ``templates``; the path of the template in it, without ``.j2``, is that of the module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from riskscale import __version__
from riskscale._core.scripts import manifest, names, script
from riskscale.cli.errors import Failure
from riskscale.cli.scripts import known
from riskscale.cli.signatures import signatures

TEMPLATES = Path(__file__).resolve().parent / "templates"
LANGUAGES = sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir())


def command(
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help=f"One of {', '.join(LANGUAGES)}.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write the module.")],
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="This script, such as lock.acquire; repeatable.")
    ] = None,
) -> None:
    """Write a typed client of the scripts: one module, which needs nothing but a way to send commands."""
    if lang not in LANGUAGES:
        raise Failure(f"--lang: there is no template for {lang!r}; there are {', '.join(LANGUAGES)}")
    for name in only or ():
        known(name)
    for path, text in modules(lang, only or ()).items():
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
        print(target)


def modules(lang: str, only: Iterable[str] = ()) -> dict[str, str]:
    """Path -> text of what there is to write in that language, with the scripts named, or all."""
    if find_spec("jinja2") is None:
        raise Failure("generate needs jinja2: pip install 'riskscale[cli]'")
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES / lang),
        autoescape=False,  # noqa: S701 - source code, not HTML
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(camel=camel, pascal=pascal, one=one, quoted=quoted)
    contract = manifest()
    texts = {name: script(name).text.decode() for name in names()}
    model = {
        "version": __version__,
        "contract": contract["contract"],
        "scripts": signatures(contract, texts, only),
    }
    templates = map(environment.get_template, environment.list_templates())
    return {str(each.name).removesuffix(".j2"): each.render(model) for each in templates}


def pascal(name: str) -> str:
    """``lock.acquire_all`` -> ``LockAcquireAll``."""
    return "".join(word[0].upper() + word[1:] for word in re.split(r"[._]", name) if word)


def camel(name: str) -> str:
    """``lock.acquire_all`` -> ``lockAcquireAll``."""
    return name[0] + pascal(name)[1:]


def one(group: str) -> str:
    """``items`` -> ``Item``: the type of what is in the list."""
    return pascal(group).removesuffix("s")


def quoted(text: str) -> str:
    """A string literal, as TypeScript, Go and Java all read it."""
    return json.dumps(text, ensure_ascii=False)
