"""SLURM for real on one host: munge, slurmctld and slurmd as Debian has them, all in a HOME of its own."""

from __future__ import annotations

from typing import Final

from host import HOME, Host, until

CONFIGURED: Final = f"""
ClusterName=bsr
SlurmctldHost=here
AuthInfo=socket={HOME}/slurm/munge.socket
SlurmUser=root
StateSaveLocation={HOME}/slurm/state
SlurmdSpoolDir={HOME}/slurm/spool
SlurmctldPidFile={HOME}/slurm/slurmctld.pid
SlurmdPidFile={HOME}/slurm/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SlurmdParameters=config_overrides
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
KillWait=2
NodeName=here CPUs=2 RealMemory=64000
PartitionName=all Nodes=here Default=YES MaxTime=INFINITE State=UP
"""
"""Two CPUs, so two jobs at a time and the others later; without cgroups, which a container may lack."""


def start(host: Host) -> None:
    """Start all of it, until the node takes jobs."""
    folder = f"{HOME}/slurm"
    host.run(f"mkdir -m 755 {folder} {folder}/state {folder}/spool")
    (host.home / "slurm/slurm.conf").write_text(CONFIGURED)
    host.run(f"head -c 1024 /dev/urandom > {folder}/munge.key && chmod 600 {folder}/munge.key")
    files = " ".join(f"--{kind}={folder}/munge.{kind.split('-')[0]}" for kind in ("key-file", "pid-file"))
    places = f"{files} --log-file={folder}/munge.log --seed-file={folder}/munge.seed"
    host.start(f"exec munged --foreground --force --socket={folder}/munge.socket {places}", "munged.log")
    until((host.home / "slurm/munge.socket").exists, "munge answers")
    for daemon in ("slurmctld", "slurmd"):
        host.start(f"exec {daemon} -D", f"{daemon}.log", SLURM_CONF=f"{folder}/slurm.conf")
    until(lambda: "idle" in slurm(host, "sinfo --noheader || true"), "SLURM's node is idle")


def slurm(host: Host, line: str) -> str:
    """One of SLURM's commands, and what it says."""
    return host.run(line, SLURM_CONF=f"{HOME}/slurm/slurm.conf")
