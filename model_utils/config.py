"""The configuration of the entry points: defaults of ``configs/jester_config.yaml`` < a YAML file < the command line.

For ``device_target`` the environment variable DEVICE_TARGET comes between the last two.

``configs/jester_config.yaml`` is also the schema. Its three documents hold the values, the help texts and what each key
accepts: a list of choices, an interval such as ``int [1, inf)`` or ``float (0, 1]``, or, without an entry, any text.
Values are parsed by the type of their key, in a file as on the command line.

    config = load_config(description="Train TRN.")
    config.lr, config.given, config.save_in("train-logs", "train")

The model zoo's files are read too: their help texts are in no groups, and their ``dropout`` is the rate that is kept.
``config`` of this module, the zoo's name, is the configuration of this process, parsed at its first use.
"""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import yaml

from model_utils.command_line import Parser, Rule
from model_utils.errors import InputError
from model_utils.files import read_file
from model_utils.settings import Settings
from model_utils.util import write_text

DEFAULT_CONFIG = Path(__file__).resolve().parents[1] / "configs" / "jester_config.yaml"


class Config(Settings):
    """One attribute for each key of the YAML, ``config_path``, and the options an entry point has added.

    Attributes:
        keys: the YAML's keys, in its order.
        given: the keys that were set on the command line or in a file other than the default one.
        notes: remarks about the values, for the log.
    """

    config_path: str

    def __init__(
        self, keys: Iterable[str], given: Iterable[str], values: Mapping[str, Any], notes: Iterable[str] = ()
    ) -> None:
        self.keys, self.given, self.notes = tuple(keys), frozenset(given), tuple(notes)
        vars(self).update(values)

    def save_in(self, folder: str | Path, program: str) -> Path:
        """Writes the keys with their present values into an output folder, as a file for ``--config_path``.

        It is called ``config.yaml`` and replaces an earlier one of ``program``. If the folder has a ``config.yaml`` of
        the user or of another program, the name is ``<program>_config.yaml``.

        Returns:
            The file.

        Raises:
            InputError: if the file cannot be written, or if this program wrote neither of two files with these names.
        """
        mark = f"# written by {program}.py\n"
        for path in (Path(folder) / "config.yaml", Path(folder) / f"{program}_config.yaml"):
            is_read = path.exists() and Path(self.config_path).exists() and path.samefile(self.config_path)
            if not path.exists() or (_begins_with(path, mark) and not is_read):
                values = {key: getattr(self, key) for key in self.keys}
                write_text(path, mark + yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
                return path
        raise InputError(f"{path}: would be written over, but {program}.py did not write it; choose another folder")


def _begins_with(path: Path, mark: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(mark)) == mark.encode()
    except OSError:
        return False


def load_config(
    argv: list[str] | None = None,
    *,
    description: str = "",
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None,
) -> Config:
    """Read the configuration.

    Args:
        argv: the arguments, by default those of the process.
        add_arguments: adds options of one program to the parser; they become attributes of the result as well.

    Raises:
        InputError: naming the file and line or the option, the key, the value and what is allowed.
    """
    helps, rules, defaults = _read_schema()
    parser = Parser(description=description, usage="%(prog)s [--key value ...]", allow_abbrev=False)
    parser.add_argument(
        "--config_path", default=str(DEFAULT_CONFIG), metavar="FILE", help="YAML file that overrides the defaults"
    )
    if add_arguments:
        add_arguments(parser)
    for title, group in helps.items():
        options = parser.add_argument_group(title)
        for key, (_, node) in group.items():
            text = f"{node.value} ({rules[key]}; default {defaults[key]!r})".replace("%", "%%")
            options.add_argument(f"--{key}", default=argparse.SUPPRESS, metavar=rules[key].type.__name__, help=text)
    namespace, rest = parser.parse_known_args(argv)
    arguments = vars(namespace)
    if rest:
        raise _unknown_key("command line", rest[0].lstrip("-").split("=")[0], {*rules, *arguments})

    path = arguments["config_path"]
    given, notes = ({}, []) if Path(path).resolve() == DEFAULT_CONFIG else _read_values(path, rules)
    if os.environ.get("DEVICE_TARGET"):
        given["device_target"] = rules["device_target"].parse("DEVICE_TARGET", os.environ["DEVICE_TARGET"])
    given.update((key, rules[key].parse(f"--{key}", arguments[key])) for key in rules if key in arguments)
    values = {**defaults, **arguments, **given}
    if not notes and 0 < given.get("dropout", 0) < 0.5 and values["freeze_bn"]:
        notes = [
            f"dropout {given['dropout']:g}: is the probability of dropping, in the published recipe"
            f" {defaults['dropout']:g}; the model zoo's files hold the rate that is kept"
        ]
    return Config(defaults, given, values, notes)


def get_config() -> Config:
    """The configuration of this process, from its command line; the model zoo's name."""
    return load_config()


if TYPE_CHECKING:
    config: Config
else:

    def __getattr__(name: str) -> Config:
        if name != "config":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name not in globals():
            globals()[name] = get_config()
        return globals()[name]


def _read_values(path: str, rules: dict[str, Rule]) -> tuple[dict[str, Any], list[str]]:
    """The values of a file in our form or the zoo's, and notes for the log."""
    values, helps, _ = documents = _read_documents(path)
    if not helps or any(isinstance(node, yaml.MappingNode) for _, node in helps.values()):
        _check_keys(path, documents, rules)
        return _parse_values(path, values, rules), []
    notes = [f"{path}: read as a file of the model zoo, because its help texts stand in no groups"]
    kept_rate = Rule(float, (), "(0, 1]", 0, 1)
    known = {key: entry for key, entry in values.items() if key in rules}
    given = _parse_values(path, known, {**rules, "dropout": kept_rate})
    if "dropout" in given:
        kept, given["dropout"] = given["dropout"], round(1 - given["dropout"], 12)
        notes.append(f"dropout {kept:g} in it is the rate that is kept: {given['dropout']:g} is dropped")
    if unknown := [key for key in values if key not in rules]:
        notes.append(f"keys in it that are not used: {', '.join(unknown)}")
    return given, notes


def _read_schema() -> tuple[dict, dict[str, Rule], dict]:
    """The default file as {group: {key: (line number, help node)}}, {key: Rule} and {key: default value}."""
    values, groups, allowed = _read_documents(DEFAULT_CONFIG)
    helps = {title: _entries(DEFAULT_CONFIG, node) for title, (_, node) in groups.items()}
    rules = {key: Rule() for group in helps.values() for key in group}
    _check_keys(DEFAULT_CONFIG, [values, groups, allowed], rules)
    for key, (line, node) in allowed.items():
        rules[key] = _parse_rule(f"{DEFAULT_CONFIG}:{line}: {key}", node)
    defaults = _parse_values(DEFAULT_CONFIG, values, rules)
    if defaults.keys() != rules.keys():
        raise InputError(f"{DEFAULT_CONFIG}: no value for {', '.join(sorted(rules.keys() - defaults.keys()))}")
    return helps, rules, defaults


def _read_documents(path: str | Path) -> list[dict]:
    """Values, help texts and allowed values of a YAML file, each as {key: (line number, value node)}."""
    try:
        text = read_file(path).decode(errors="surrogateescape")
        roots = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except OSError as error:
        raise InputError(f"{path}: cannot read the config file: {error.strerror}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text, or a character that YAML forbids") from None
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{path}:{error.problem_mark.line + 1}: not valid YAML: {error.problem}") from None
    except (ValueError, RecursionError) as error:  # an escape that is no character; very deep nesting
        raise InputError(f"{path}: not YAML that can be read: {error}") from None
    if len(roots) > 3:
        raise InputError(f"{path}: expected at most 3 documents, found {len(roots)}")
    return ([_entries(path, root) for root in roots] + [{}, {}, {}])[:3]


def _entries(path: str | Path, node: yaml.Node) -> dict:
    """The entries of a mapping as {key: (line number, value node)}; an empty document is an empty mapping."""
    if node.tag.endswith(":null"):
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{path}:{node.start_mark.line + 1}: expected lines of the form 'key: value'")
    entries: dict[str, tuple[int, yaml.Node]] = {}
    for key_node, value_node in node.value:
        line, key = key_node.start_mark.line + 1, str(key_node.value)
        if key in entries:
            raise InputError(f"{path}:{line}: {key} is already set in line {entries[key][0]}")
        entries[key] = line, value_node
    return entries


def _check_keys(path: str | Path, documents: list[dict], known: Iterable[str]) -> None:
    values, groups, allowed = documents
    for title, (line, node) in groups.items():
        if not isinstance(node, yaml.MappingNode):
            raise InputError(f"{path}:{line}: {title}: expected a group of help texts, as others here are")
    for entries in (values, *(_entries(path, node) for _, node in groups.values()), allowed):
        for key, (line, _) in entries.items():
            if key not in known:
                raise _unknown_key(f"{path}:{line}", key, known)


def _unknown_key(where: str, key: str, known: Iterable[str]) -> InputError:
    nearest = difflib.get_close_matches(key, known, n=1)
    return InputError(f"{where}: unknown key {key!r}, " + (f"did you mean {nearest[0]}?" if nearest else "see --help"))


def _parse_rule(where: str, node: yaml.Node) -> Rule:
    if isinstance(node, yaml.SequenceNode) and node.value:
        choices = yaml.constructor.SafeConstructor().construct_document(node)
        return Rule(type(choices[0]), tuple(choices))
    try:
        return Rule.within(str(node.value))
    except ValueError:
        expected = "expected [choice, ...] or e.g. int [1, inf)"
        raise InputError(f"{where}: {node.value!r} is not allowed, {expected}") from None


def _parse_values(path: str | Path, entries: dict, rules: dict[str, Rule]) -> dict:
    values = {}
    for key, (line, node) in entries.items():
        where = f"{path}:{line}: {key}"
        if not isinstance(node, yaml.ScalarNode) or node.tag.endswith(":null"):
            raise InputError(f"{where}: not a single value, expected {rules[key]}")
        values[key] = rules[key].parse(where, node.value)
    return values
