"""What `dd2424 list` prints: labs, settings with the course's figures, options, data sets."""

from __future__ import annotations

from dd2424.labs.base import Lab
from dd2424.labs.options import option_names, option_text
from dd2424.labs.registry import LABS
from dd2424.labs.sources import describe_sources


def listing() -> str:
    """The whole page."""
    return "\n\n".join([*(_lab(lab) for lab in LABS.values()), describe_sources()])


def _lab(lab: Lab) -> str:
    lines = [f"{lab.name}: {lab.title} ({lab.lecture})"]
    width = max(len(f"setting={s.name}") for s in lab.settings)
    for i, setting in enumerate(lab.settings):
        figure = setting.figure
        reach = f"; {lab.real_data} test {figure.low:.1f} to {figure.high:.1f} %" if figure else ""
        default = ", the default" if i == 0 else ""
        lines.append(f"  {f'setting={setting.name}':<{width}}  {setting.summary}{reach}{default}")
    for name, field in option_names(lab.Options).items():
        if name != "setting":
            choices = field.metadata["choices"]
            values = "|".join(choices) if choices else option_text(field.default)
            lines.append(f"    {name + '=' + values:<24} {field.metadata['help']}")
    return "\n".join(lines)
