"""Which plugins are installed, from the metadata of distributions alone: nothing is imported."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from harness.contracts import INTERFACE_VERSION
from harness.errors import PluginBroken, PluginNotFound

GROUP = "harness"
INTERFACE_GROUP = "harness.interface"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPlugin:
    """A plugin as its distribution's metadata describe it."""

    name: str
    module: str
    distribution: str
    version: str
    interface: str | None
    """What it states, e.g. ``v1``; None where it states nothing."""

    @property
    def compatible(self) -> bool:
        """Whether it was written for this harness's interface."""
        return self.interface == f"v{INTERFACE_VERSION}"

    def require_compatible(self) -> None:
        """Raise ``PluginBroken`` with the way out where the interface versions differ."""
        if not self.compatible:
            raise PluginBroken(
                f"plugin {self.name!r} (distribution {self.distribution} {self.version}) states interface "
                f"{self.interface or 'nothing'}, this harness has v{INTERFACE_VERSION}; install a release of it for "
                f'v{INTERFACE_VERSION}, or state it under [project.entry-points."{INTERFACE_GROUP}"]'
            )

    def folder(self) -> Path:
        """The folder of its package, found without importing it."""
        spec = util.find_spec(self.module.split(".")[0])
        if spec is None or not spec.submodule_search_locations:
            raise PluginBroken(
                f"plugin {self.name!r} (distribution {self.distribution}): its package {self.module!r} is not there; "
                f"reinstall {self.distribution}"
            )
        return Path(next(iter(spec.submodule_search_locations)))


def installed_plugins() -> tuple[InstalledPlugin, ...]:
    """Every installed plugin, by name."""
    interfaces = {
        (point.name, _distribution(point).name): point.value for point in metadata.entry_points(group=INTERFACE_GROUP)
    }
    plugins = {_plugin(point, interfaces) for point in metadata.entry_points(group=GROUP)}
    return tuple(sorted(plugins, key=lambda plugin: (plugin.name, plugin.distribution)))


def find_plugin(name: str) -> InstalledPlugin:
    """The installed plugin of that name.

    Raises:
        PluginNotFound: there is none; the message names the nearest one.
        PluginBroken: two distributions offer it.
    """
    plugins = installed_plugins()
    found = [plugin for plugin in plugins if plugin.name == name]
    if len(found) > 1:
        owners = ", ".join(plugin.distribution for plugin in found)
        raise PluginBroken(f"plugin {name!r} is offered by two distributions: {owners}; uninstall one")
    if not found:
        raise PluginNotFound(_not_found(name, [plugin.name for plugin in plugins]))
    return found[0]


def _not_found(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, [*names, *KNOWN], n=1)
    hint = f"; did you mean {near[0]!r}" if near else ""
    missing = " (not installed here)" if near and near[0] not in names else ""
    question = "?" if near else ";"
    return f"no plugin named {name!r}{hint}{missing}{question} installed: {', '.join(names) or 'none'}"


KNOWN = ("baseline-l1", "edge-llm", "nics", "tinytron")
"""The strategies of this project, so that a slip is recognised before they are installed."""


def _plugin(point: metadata.EntryPoint, interfaces: dict[tuple[str, str], str]) -> InstalledPlugin:
    distribution = _distribution(point)
    return InstalledPlugin(
        name=point.name,
        module=point.value,
        distribution=distribution.name,
        version=distribution.version,
        interface=interfaces.get((point.name, distribution.name)),
    )


def _distribution(point: metadata.EntryPoint) -> metadata.Distribution:
    if point.dist is None:  # pragma: no cover - only for entry points built by hand
        raise PluginBroken(f"entry point {point.name!r} belongs to no distribution")
    return point.dist
