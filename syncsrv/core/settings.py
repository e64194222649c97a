"""The configuration in force, with the place of every value and what is wrong with what the files say."""

from __future__ import annotations

from dataclasses import asdict

from syncsrv.config.effective import effective
from syncsrv.control.shapes_page import SettingInfo, SettingsReply
from syncsrv.core.parts import Core


def settings(core: Core) -> SettingsReply:
    """Every effective value; a secret only says that it is set."""
    live = core.live
    found, changed = effective(live.config)
    problems = [live.cluster_problem, live.reload_problem, *map(str, live.config.warnings), *changed]
    return SettingsReply(
        tuple(SettingInfo(**asdict(one)) for one in found), tuple(dict.fromkeys(one for one in problems if one))
    )
