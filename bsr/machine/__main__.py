"""`python -m bsr.machine`: the name by which `make bench` calls its recording."""

from __future__ import annotations

from bsr.machine.device import name_for_files, resolve_device

print(name_for_files(resolve_device("auto")))
