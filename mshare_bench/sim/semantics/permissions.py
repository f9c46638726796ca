"""Who may do what to a file or a domain: mode bits, owner, capabilities and the namespaces they count in."""

from mshare_bench.sim.semantics.state import Credentials, Domain, MachineState

__all__ = ["capable", "find_domain", "may_access", "may_unlink"]


def capable(who: Credentials, over: Credentials, capability: str) -> bool:
    """Whether a process has a capability over what `over` made: only in that user namespace or, from `init`, in all below."""
    return capability in who.capabilities and who.user_ns in ("init", over.user_ns)


def may_access(who: Credentials, owner: Credentials, mode: int, write: bool) -> bool:
    """Whether opening for reading (and writing) is allowed: owner bits, else group bits, else others'; or CAP_DAC_OVERRIDE."""
    if capable(who, owner, "CAP_DAC_OVERRIDE"):
        return True
    shift = 6 if who.uid == owner.uid else 3 if who.gid == owner.gid else 0
    wanted = 0o6 if write else 0o4
    return mode >> shift & wanted == wanted


def may_unlink(machine: MachineState, who: Credentials, owner: Credentials) -> bool:
    """Whether a name may be removed: by its owner or with CAP_FOWNER; by anyone where the folder has no sticky bit (v3)."""
    return not machine.config.strict_permissions or who.uid == owner.uid or capable(who, owner, "CAP_FOWNER")


def find_domain(machine: MachineState, who: Credentials, name: str) -> Domain | None:
    """Look a domain up where the process sees it: each mount is an instance of its own, so another namespace has others."""
    return machine.names.get((who.mount_ns, name))
