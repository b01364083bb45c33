"""What the chain file says by hand of who waits for whom: `after:` and `parallel:`.

`after` names NFs in front. The NF then sees the traffic as it is behind those and all whom they
wait for, and does not wait for others, though they may drop what it sees. NFs of one `parallel` run
side by side. Neither takes away that who reads what an NF publishes waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from microbox.chain.errors import ChainError, did_you_mean
from microbox.chain.model import Chain, ChainNF
from microbox.chain.plan import PlannedNF
from microbox.chain.subscriptions import Reader


def are_parallel(one: ChainNF, other: ChainNF) -> bool:
    """True where both stand in one `parallel`."""
    return one.group is not None and one.group == other.group


def said_to_wait_for(
    nfs: Sequence[ChainNF], index: int, front: Sequence[PlannedNF]
) -> dict[int, str] | None:
    """Whom `after` of the NF says that it waits for, and why; None where it says nothing.

    `front` are the NFs in front of it, planned.
    """
    nf = nfs[index]
    if nf.after is None:
        return None
    said: dict[int, str] = {}
    for earlier in reversed(front):
        if nfs[earlier.index].entry in nf.after:
            said[earlier.index] = "`after` names it"
        if earlier.index not in said or earlier.is_shadow:
            continue
        for one in (*earlier.barrier, *earlier.would_wait):
            said.setdefault(one, f"{earlier.name} waits for it")
    return said


def order_errors(chain: Chain, readers: Sequence[Reader]) -> list[ChainError]:
    """Where `after` and `parallel` say what cannot be."""
    return [
        error
        for index, nf in enumerate(chain.nfs)
        if nf.is_first
        for error in (*_wrong_names(chain, index, nf), *_read_beside(chain, readers, index, nf))
    ]


def side_by_side_errors(
    chain: Chain, nfs: Sequence[PlannedNF], protocols: Sequence[frozenset[str]]
) -> list[ChainError]:
    """Two NFs that edit the same packets, neither of which waits for the other: nobody could say
    whose edit comes first, or would once they are promoted. `protocols` of each NF: what it reads
    packets of."""
    editors = [nf for nf in nfs if nf.manifest.edits]
    errors = []
    for place, later in enumerate(editors):
        for earlier in editors[:place]:
            common = protocols[earlier.index] & protocols[later.index]
            are_one = earlier.entry == later.entry  # instances, which have other flows each
            if are_one or not common or earlier.index in _waited_for(nfs, later.index):
                continue
            here, first = chain.nfs[later.index], chain.nfs[earlier.index]
            position = here.value_positions.get("after", here.position)
            message = (
                f"'{later.name}' and '{earlier.name}' ({first.position.spelled}) both edit "
                f"{', '.join(sorted(common))}, side by side; expected one behind the other"
            )
            errors.append(ChainError.at(chain.file, position, message))
    return errors


def _waited_for(nfs: Sequence[PlannedNF], index: int) -> set[int]:
    """Whom an NF waits for, and whom those wait for."""
    waited = {*nfs[index].barrier, *nfs[index].would_wait}
    return waited.union(*(_waited_for(nfs, one) for one in waited))


def _wrong_names(chain: Chain, index: int, nf: ChainNF) -> Iterator[ChainError]:
    """`after` names NFs in front, which are in no `parallel` with this one."""
    position = nf.value_positions.get("after", nf.position)
    places = {one.entry: place for place, one in enumerate(chain.nfs) if one.is_first}
    for name in nf.after or ():
        hint = ""
        if name not in places:
            message = f"no NF of the chain is called '{name}'"
            hint = did_you_mean(name, places)
        elif places[name] == index:
            message = f"'{name}' cannot wait for itself"
        elif places[name] > index:
            where = chain.nfs[places[name]].position.spelled
            message = f"'{name}' ({where}) stands behind '{nf.entry}'"
        elif are_parallel(chain.nfs[places[name]], nf):
            message = f"'{name}' runs beside '{nf.entry}', as `parallel` says"
        else:
            continue
        yield ChainError.at(
            chain.file, position, f"after: {message}; expected names of NFs in front of it", hint
        )


def _read_beside(
    chain: Chain, readers: Sequence[Reader], index: int, nf: ChainNF
) -> Iterator[ChainError]:
    """Who reads what another one publishes is not beside it."""
    reader = readers[index]
    for earlier in range(index):
        other = chain.nfs[earlier]
        if not are_parallel(other, nf) or not other.is_first:
            continue
        read = {
            one
            for wish in reader.wishes
            for one in reader.from_nfs(wish, readers[earlier].publishes)
        }
        if read:
            names = ", ".join(sorted(one.name.removeprefix("flow.") for one in read))
            yield ChainError.at(
                chain.file,
                nf.position,
                f"'{nf.entry}' reads {names} of '{other.entry}' ({other.position.spelled}), so "
                "they cannot be parallel; expected it behind that `parallel`",
            )
