"""Every error that the harness raises on purpose.

HarnessError                 printed as one line, no traceback
├── UsageError               what was typed, or a file that the user wrote          exit 2
│   ├── PluginNotFound
│   ├── RecipeError
│   ├── UnknownEdition
│   ├── DataNotAllowed
│   └── BudgetUnreachable
├── EngineFailed             a plugin, an engine or a measurement failed            exit 3
│   ├── PluginFailed
│   │   ├── PluginBroken     cannot be imported, or states another interface
│   │   ├── ContractBroken   a hook returned what the contract does not allow
│   │   └── LimitExceeded    time or memory
│   ├── ToolchainFailed      an environment could not be made, or is broken
│   └── MeasurementFailed    a score is missing, degenerate or not finite
├── RuleBroken               a recipe does what the edition forbids                 exit 4
├── CheckpointCorrupt        a file on disk is not what it claims to be             exit 3
└── Interrupted              Ctrl-C; what is done stays done                        exit 130
"""

from __future__ import annotations

from typing import ClassVar


class HarnessError(Exception):
    """Base of every error whose message alone helps: printed without a traceback."""

    exit_code: ClassVar[int] = 3


class UsageError(HarnessError):
    """What was typed, or a file that the user wrote, is not allowed."""

    exit_code = 2


class PluginNotFound(UsageError):
    """No installed distribution offers a plugin of that name."""


class RecipeError(UsageError):
    """A recipe or an option has a wrong field; the message names file, line and field."""


class UnknownEdition(UsageError):
    """No edition of the rules has that id."""


class DataNotAllowed(UsageError):
    """A data set outside the edition's allow-list was asked for, or its local copy cannot be read."""


class BudgetUnreachable(UsageError):
    """No legal shape of the model is as small as the parameter budget asks."""


class RuleBroken(HarnessError):
    """A recipe does what the edition forbids; said before anything runs."""

    exit_code = 4


class EngineFailed(HarnessError):
    """A plugin, an engine or a measurement failed."""


class PluginFailed(EngineFailed):
    """A plugin raised, crashed or was stopped; the message names plugin, hook and cause."""


class PluginBroken(PluginFailed):
    """A plugin cannot be imported, has a hook that does not fit, or states another interface version."""


class ContractBroken(PluginFailed):
    """A hook returned something that its contract does not allow."""


class LimitExceeded(PluginFailed):
    """A step ran past its time limit or its memory limit."""


class ToolchainFailed(EngineFailed):
    """A toolchain's environment could not be made, or is broken."""


class MeasurementFailed(EngineFailed):
    """A score is missing, degenerate or not finite."""


class CheckpointCorrupt(HarnessError):
    """A checkpoint on disk is not what it claims to be."""


class Interrupted(HarnessError):
    """The user stopped the run; finished steps are kept and a rerun continues."""

    exit_code = 130
