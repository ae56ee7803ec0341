"""What the site makes of docstrings: an API page a model file, the table of departures, links where roles are.

MkDocs runs the functions (``hooks`` in mkdocs.yml); mkdocstrings the class, on every docstring that it shows.
"""

import ast
import re
from pathlib import Path
from typing import Any

from griffe import Class, Docstring, Extension, NameResolutionError, Object
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "jaxseg" / "models"
ROLE = re.compile(r":(?:func|class|mod|data|meth|attr):`~?([\w.]+)`")
SECTION = re.compile(r"(?:(?<=\. )|(?<=\.\n)|^)(Followed|Departs|Left out)\b", re.MULTILINE)


class Docstrings(Extension):
    """``:func:`roi_align``` becomes a link to what it names, seen from the module that says so; fields that have no
    docstring of their own stand together below their class's, and not each under a heading.
    """

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        lines = []
        cls.decorators.clear()  # of a dataclass griffe would make an __init__ without its fields
        for name, member in list(cls.members.items()):
            if not member.is_alias and not member.docstring:
                if member.is_attribute and member.annotation and not name.startswith("_"):
                    lines.append(
                        f"{name}: {member.annotation}" + ("" if member.value is None else f" = {member.value}")
                    )
                cls.del_member(name)
        if lines:
            said = cls.docstring.value if cls.docstring else ""
            cls.docstring = Docstring("\n".join([said, "", "```python", *lines, "```"]), parent=cls)

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            # The words before a block of code end in "::", Markdown wants ":" and an empty line.
            text = re.sub(r"::\n\n(?= {4})", ":\n\n", obj.docstring.value)
            obj.docstring.value = ROLE.sub(lambda found: _link(found[1], obj), text)


def _link(name: str, scope: Object | None) -> str:
    target = name
    if scope is not None and not name.startswith("jaxseg."):
        try:
            target = scope.resolve(name)
        except NameResolutionError:  # the name of a file, too
            target = f"{scope.path if scope.is_module else scope.module.path}.{name}"
    return f'<autoref optional identifier="{target}"><code>{name.split(".")[-1]}</code></autoref>'


def on_files(files: Any, config: Any) -> Any:
    """A page of the API for every file of models."""
    for name in model_names():
        page = f"# {name}.py\n\n::: jaxseg.models.{name}\n    options:\n      show_root_heading: false\n"
        files.append(File.generated(config, f"api/models/{name}.md", content=page))
    return files


def on_config(config: Any) -> Any:
    """Their places in the menu."""
    for section in config.nav or ():
        for entry in section.get("API", ()):
            if isinstance(entry, dict) and "Models" in entry:
                entry["Models"] += [{f"{name}.py": f"api/models/{name}.md"} for name in model_names()]
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    if page.file.src_uri == "departures.md":
        return markdown.replace("<!-- departures -->", departures())
    shown = re.search(r"^::: jaxseg\.(\w+)$", markdown, re.MULTILINE)
    for name, path in hidden_by_files(shown[1]) if shown and page.file.src_uri.startswith("api/") else ():
        if path != name:
            markdown += f'\n\n<a id="{name}"></a>'
            for known in {name, path.rsplit(".", 1)[0]}:
                config.plugins["autorefs"].register_anchor(page, known, name, primary=True)
        markdown += f"\n\n::: {path}\n"
    return markdown


def hidden_by_files(package: str) -> list[tuple[str, str]]:
    """What a package gives under the name of a file, which is all that mkdocstrings sees of it: name, and full path."""
    home = f"jaxseg.{package}"
    source = ROOT / "jaxseg" / package / "__init__.py"
    found = []
    for node in ast.parse(source.read_text()).body if source.exists() else ():
        for name in (alias.name for alias in node.names) if isinstance(node, ast.ImportFrom) else ():
            module = node.module or ""
            is_file = (ROOT / module.replace(".", "/") / f"{name}.py").exists()
            if module.endswith(f".{name}") or (is_file and module != home):
                found.append((f"{home}.{name}", f"{module}.{name}" + f".{name}" * is_file))
            elif is_file:  # a module that is public itself
                found.append((f"{home}.{name}",) * 2)
    return found


def model_names() -> list[str]:
    return sorted(path.stem for path in MODELS.glob("*.py") if path.stem != "__init__")


def departures() -> str:
    """Of each model file what its docstring says under "Departs" and "Left out", as one table."""
    tree = ast.parse((MODELS / "__init__.py").read_text()).body
    papers = next(ast.literal_eval(n.value) for n in tree if isinstance(n, ast.Assign) and n.targets[0].id == "PAPERS")
    lines, silent = ["| paper, file | what departs, or is left out |", "|---|---|"], []
    for name in model_names():
        text = ast.get_docstring(ast.parse((MODELS / f"{name}.py").read_text())) or ""
        said = [paragraph for paragraph in sections(text) if not paragraph.startswith("Followed")]
        if said:
            cell = "<br><br>".join(ROLE.sub(lambda found: _link(found[1], None), " ".join(s.split())) for s in said)
            paper = papers.get(f"jaxseg.models.{name}", "")
            lines.append(f"| {paper}<br>[{name}.py][jaxseg.models.{name}] | {cell.replace('|', chr(92) + '|')} |")
        else:
            silent.append(f"[{name}.py][jaxseg.models.{name}]")
    return "\n".join(lines) + f"\n\nThe docstrings of the others name none: {', '.join(silent)}."


def sections(docstring: str) -> list[str]:
    """The parts of a docstring that begin with Followed, Departs or Left out; each ends with its paragraph."""
    found = []
    for paragraph in re.split(r"\n\s*\n", docstring):
        begins = [match.start() for match in SECTION.finditer(paragraph)]
        found += [paragraph[a:b].strip() for a, b in zip(begins, [*begins[1:], len(paragraph)])]
    return found
