"""Labs: one recipe per topic of the course.

The command line runs them whole; `new_session` gives their data, model and trainer to a program or a notebook.
"""

from __future__ import annotations

from dd2424.labs.base import Lab
from dd2424.labs.registry import LABS, get_lab
from dd2424.labs.session import Session, new_session

__all__ = ["LABS", "Lab", "Session", "get_lab", "new_session"]
