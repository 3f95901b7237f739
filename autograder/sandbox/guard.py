"""Refuse, by name, the modules and functions that an exercise asks students to write themselves.

Put in force before a student's first line runs. A name such as "sklearn.metrics" forbids a module and all below it,
"cv2.threshold" one function.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any


class ForbiddenCall(ImportError):
    """The student used what the exercise asks to write by hand."""


def forbid(names: list[str]) -> None:
    """Forbid `names` in this process, loaded or not."""
    rules = _Rules(names)
    for name in list(sys.modules):
        if rules.covers(name):
            del sys.modules[name]
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType):
            rules.patch(name, module)
    sys.meta_path.insert(0, rules)


class _Rules(importlib.abc.MetaPathFinder):
    def __init__(self, names: list[str]) -> None:
        self.names = names

    def covers(self, module: str) -> bool:
        return any(module == name or module.startswith(f"{name}.") for name in self.names)

    def patch(self, name: str, module: ModuleType) -> None:
        """Replace what is forbidden of the module, there or not: many packages load their parts when asked for them."""
        for rule in self.names:
            parent, _, attribute = rule.rpartition(".")
            if parent == name:
                setattr(module, attribute, _Refusal(rule))

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if self.covers(fullname):
            raise ForbiddenCall(f"{fullname} may not be used here: write it yourself")
        if not any(rule.rpartition(".")[0] == fullname for rule in self.names):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader, self)
        return spec


class _PatchingLoader(importlib.abc.Loader):
    """Loads a module as usual, then replaces its forbidden functions."""

    def __init__(self, loader: Any, rules: _Rules) -> None:
        self.loader = loader
        self.rules = rules

    def create_module(self, spec: Any) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        self.rules.patch(module.__name__, module)


class _Refusal:
    """Stands in for a forbidden function or module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise ForbiddenCall(f"{self._name} may not be used here: write it yourself")

    def __getattr__(self, attribute: str) -> Any:
        raise ForbiddenCall(f"{self._name} may not be used here: write it yourself")
