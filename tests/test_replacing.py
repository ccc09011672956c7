"""What the plugin changes outside of itself: listed in full, changed once, and in a notebook no more than it must."""

import json
import os
import re
import subprocess
import sys

from tests.support.commands import ROOT

HEAD = """
import atexit, importlib, json, logging, os, sys, types, warnings
def name_modules():
    import fairseq_smt
    fairseq_smt.register()
    import fairseq_smt.console
    return [name for name in sys.modules if not name.startswith(("fairseq_smt", "__"))]

def prepare():
    "Load, without the plugin, what it would load."
    reading, writing = os.pipe()
    if os.fork() == 0:
        with open(writing, "w") as file:
            json.dump(name_modules(), file)
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        for name in json.load(file):
            importlib.import_module(name)

def marked(value):
    "A function, and what torch would call in its place."
    value = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    inner = getattr(value, "__wrapped__", None) if isinstance(value, types.FunctionType) else None
    return id(value), id(getattr(inner, "__dynamo_disable", None))

def snapshot():
    "Place -> what tells whether it was changed, of all modules and classes but the plugin's."
    found = {"atexit": atexit._ncallbacks(), "warnings.filters": list(map(str, warnings.filters))}
    found |= {f"os.environ.{name}": value for name, value in os.environ.items()}
    loggers = logging.Logger.manager.loggerDict.items()
    filters = {name: len(getattr(logger, "filters", ())) for name, logger in loggers}
    found |= {f"logging.getLogger.{name}": number for name, number in filters.items() if number}
    for name, module in list(sys.modules.items()):
        if name.startswith(("fairseq_smt", "__")) or not isinstance(module, types.ModuleType):
            continue
        for key, value in list(vars(module).items()):
            if isinstance(value, types.ModuleType) or key == "__warningregistry__" or f"{name}.{key}" in found:
                continue
            found[f"{name}.{key}"] = marked(value)
            if isinstance(value, type) and value.__module__ == name:
                found |= {f"{name}.{key}.{inner}": marked(x) for inner, x in list(vars(value).items())}
    from fairseq.registry import REGISTRIES
    found["fairseq.registry.REGISTRIES"] = list(REGISTRIES["bpe"]["dataclass_registry"])
    return found

def changes(before, after):
    found = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)}
    return sorted(k for k in found if k.rpartition(".")[0] not in found)  # a class, and not what is in it
"""


def python(code: str, *arguments: object, cwd=ROOT) -> list:
    """The JSON that a fresh interpreter prints last."""
    command = [sys.executable, "-W", "ignore", "-c", HEAD + code, *map(str, arguments)]
    ours = ("HYDRA_FULL_ERROR", "PYTHONWARNINGS", "FAIRSEQ_SMT_TRACEBACK")  # other tests may have set them
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def table(package: str) -> list[str]:
    """The places that the docstring of a package lists."""
    text = (ROOT / "fairseq_smt" / package / "__init__.py").read_text().split('"""')[1]
    return sorted(re.findall(r"^[\w.]+$", text, re.M))


def test_the_tables_list_what_is_changed_and_nothing_else():
    code = """
prepare()
sys.warnoptions.clear()
states = [snapshot()]
import fairseq_smt
fairseq_smt.register()
states.append(snapshot())
import fairseq_smt.console
states.append(snapshot())
print(json.dumps([changes(*states[:2]), changes(*states[1:])]))
"""
    compat, console = python(code)
    assert compat == table("compat")
    assert console == table("console")


def test_a_replacement_takes_the_place_of_its_own_copy():
    """Modules that are imported again, in any order, leave one layer of each replacement above fairseq's function."""
    code = (
        """
import fairseq_smt
fairseq_smt.register()
import fairseq_smt.console
from fairseq_smt.replacing import layers
from fairseq import checkpoint_utils, utils
from fairseq.data import iterators
from fairseq.trainer import Trainer
places = [(Trainer, "load_checkpoint"), (Trainer, "clip_grad_norm"), (Trainer, "__init__"), (sys, "excepthook")]
places += [(iterators, "BackgroundConsumer"), (utils, "import_user_module"), (fairseq_smt.models.ema, "EMA")]
""".replace("fairseq_smt.models.ema", "sys.modules['fairseq.models.ema']")
        + """
depths = [len(layers(*place)) for place in places]
bottoms = [layers(*place)[-1] for place in places]
for again in range(2):
    for package in ("console", "compat"):
        for name in sorted(n for n in sys.modules if n.startswith(f"fairseq_smt.{package}.")):
            importlib.reload(sys.modules[name])
    importlib.reload(fairseq_smt)
assert list(iterators.BufferedIterator(2, [1, 2, 3])) == [1, 2, 3]
assert [layers(*place)[-1] for place in places] == bottoms
print(json.dumps([depths, [len(layers(*place)) for place in places]]))
"""
    )
    before, after = python(code)
    assert before == after == [3, 2, 2, 2, 2, 2, 2]


def test_a_user_dir_makes_a_command_of_a_process_that_has_the_plugin():
    """First under its own name, then by the folder of another: the errors of a notebook stay those of Python."""
    code = """
import argparse, fairseq, fairseq_smt
from fairseq import utils
seen = [sys.excepthook is sys.__excepthook__, "fairseq_smt.console" in sys.modules]
utils.import_user_module(argparse.Namespace(user_dir=None))
seen.append("fairseq_smt.console" in sys.modules)
hooks = []
for folder in ("user_dir", "fairseq_smt"):
    utils.import_user_module(argparse.Namespace(user_dir=folder))
    hooks.append(sys.excepthook)
print(json.dumps([*seen, hooks[0] is hooks[1], hooks[0].__module__]))
"""
    assert python(code) == [True, False, False, True, "fairseq_smt.console.errors"]


def test_the_plugin_under_another_name_changes_nothing_twice(tmp_path):
    (tmp_path / "other").symlink_to(ROOT / "fairseq_smt")
    code = """
import fairseq, fairseq_smt, fairseq_smt.console
sys.path.insert(0, sys.argv[1])
import other
importlib.import_module("other.compat.finite")
from fairseq.trainer import Trainer
from fairseq_smt.replacing import layers
print(json.dumps([len(layers(Trainer, "clip_grad_norm")), len(layers(Trainer, "load_checkpoint"))]))
"""
    assert python(code, tmp_path) == [2, 3]


def test_a_bare_import_leaves_the_end_of_a_program_to_python():
    code = """
import fairseq, fairseq_smt
from fairseq_smt.errors import ConfigurationError
raise ConfigurationError("a sentence")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=300)
    assert done.returncode == 1 and "Traceback" in done.stderr
