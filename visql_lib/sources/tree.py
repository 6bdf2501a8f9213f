"""The tree of a group's isophotes, and the branches of it that become sources.

Bertin & Arnouts (1996), section 4.2: a group is cut at levels spaced
exponentially between the threshold and its peak; a branch counts if its flux
above its own foot is more than a fraction of the group's flux; wherever two or
more branches that count meet, each becomes a source.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visql_lib.sources.compiled import compiled

# Neighbours: below, above, left, right, then the corners
_STEP_X = (0, 0, -1, 1, -1, 1, -1, 1)
_STEP_Y = (-1, 1, 0, 0, -1, -1, 1, 1)
_NOBODY = 8


def _touch(i: int, j: int) -> bool:
    return max(abs(_STEP_X[i] - _STEP_X[j]), abs(_STEP_Y[i] - _STEP_Y[j])) < 2


def _who_speaks() -> NDArray[np.int8]:
    """Return, for each set of neighbours, the first one of each part of it that hangs together.

    Neighbours that touch are of the same branch, so that one of them is enough.
    Bit i of the row's number stands for neighbour i; `_NOBODY` ends the row.
    """
    table = np.full((256, 5), _NOBODY, np.int8)
    for members in range(256):
        left = {i for i in range(8) if members >> i & 1}
        parts = 0
        while left:
            table[members, parts] = min(left)
            parts += 1
            part = {min(left)}
            while part:
                left -= part
                part = {j for j in left if any(_touch(i, j) for i in part)}
    return table


_SPEAKERS = _who_speaks()
_MANTISSA = 23  # bits of a single-precision number
_BEND = 0.3466  # of the parabola that makes log2(1 + m) of m, to 0.01
# A branch under construction
BRANCH = np.dtype(
    [
        ("parent", np.int32),  # the branch it was joined to; its own number: none
        ("number", np.int32),  # px
        ("flux", np.float32),  # ADU
        ("step", np.int16),  # level at which it was last touched; less than 0: and closed
        ("heavy", np.int16),  # sons that count
        ("whole", np.bool_),  # as it was at the level above: nothing in it was split off
        ("spotless", np.bool_),  # the same of all its sons
        ("node", np.int32),  # its node at the level above, -1: it is new
        ("head", np.int32),  # list of the nodes of its sons
        ("tail", np.int32),
    ]
)
# A branch between two levels at which it gains pixels
NODE = np.dtype(
    [
        ("up", np.int32),  # the node it becomes part of
        ("next", np.int32),  # the next son of that node
        ("key", np.int32),  # place of its last pixel
        (
            "core",
            np.int32,
        ),  # number of the source it belongs to; -1: none; -2: becomes one if it meets another
    ]
)


@compiled()
def _find(branches, i):
    """Find the branch that branch `i` is part of by now."""
    while branches[i].parent != i:
        branches[i].parent = branches[branches[i].parent].parent
        i = branches[i].parent
    return i


@compiled()
def _logarithm(bits):
    """Approximate the binary logarithm of a positive number by its bits: to 0.01, and a constant."""
    mantissa = np.float32(bits & ((1 << _MANTISSA) - 1)) * np.float32(2.0**-_MANTISSA)
    bend = np.float32(_BEND) * mantissa * (np.float32(1) - mantissa)
    return np.float32(bits >> _MANTISSA) + mantissa + bend


@compiled()
def _guess_levels(bits, feet_bits, step):
    """Write about the level of each pixel."""
    top = np.float32(len(feet_bits) - 1)
    low, high = _logarithm(feet_bits[0]), _logarithm(feet_bits[len(feet_bits) - 1])
    scale = top / max(high - low, np.float32(1e-6))
    for k in range(len(bits)):
        guess = (_logarithm(bits[k]) - low) * scale
        step[k] = np.int16(min(max(guess, np.float32(0)), top))


@compiled()
def _sort_by_level(level, first, n, feet, order, step, ends):
    """Order the pixels from the highest level to the lowest; write the level of each and where levels end."""
    steps = len(feet)
    ends[:] = 0
    _guess_levels(level[first : first + n].view(np.int32), feet.view(np.int32), step)
    for k in range(n):
        w, q = level[first + k], np.int64(step[k])
        while q > 0 and not w > feet[q]:
            q -= 1
        while q + 1 < steps and w > feet[q + 1]:
            q += 1
        step[k] = q
        ends[q] += 1
    at = 0
    for q in range(steps - 1, -1, -1):
        number = ends[q]
        ends[q] = at
        at += number
    for k in range(n):
        q = step[k]
        order[ends[q]] = k
        ends[q] += 1


@compiled()
def _open(branch, nodes, q, foot_above, least, enough):
    """Enter a branch, as it was at the level above, as its only son at level `q`."""
    branch.step = q
    branch.heavy = 0
    branch.spotless = True
    node = branch.node
    branch.head = branch.tail = node
    if node < 0:
        return
    nodes[node].next = -1
    if branch.number >= least:
        branch.spotless = branch.whole
        if branch.flux - foot_above * branch.number > enough:
            branch.heavy = 1
            if branch.whole:
                nodes[node].core = -2


@compiled()
def _merge(branches, nodes, a, b):
    """Join two branches that meet at the present level; return the root."""
    if branches[a].number < branches[b].number:
        a, b = b, a
    one, other = branches[a], branches[b]
    other.parent = a
    one.number += other.number
    one.flux += other.flux
    one.heavy += other.heavy
    one.spotless = one.spotless and other.spotless
    if other.head >= 0:
        if one.head < 0:
            one.head = other.head
        else:
            nodes[one.tail].next = other.head
        one.tail = other.tail
    return a


@compiled()
def _add_pixel(p, value, q, new, place, stride, foot_above, least, enough, branches, nodes):
    """Add the pixel at place `p` to the tree at level `q`.

    It becomes branch `new` if it touches none. Returns its branch and how many
    it joins.
    """
    root = np.int64(-1)
    members = joined = 0
    for i in range(8):
        members |= (place[p + _STEP_X[i] + _STEP_Y[i] * stride] < 0) << i
    for j in range(5):
        i = _SPEAKERS[members, j]
        if i == _NOBODY:
            break
        r = _find(branches, np.int64(-1 - place[p + _STEP_X[i] + _STEP_Y[i] * stride]))
        if r == root:
            continue
        if branches[r].step != q:
            _open(branches[r], nodes, q, foot_above, least, enough)
        if root < 0:
            root = r
            branches[r].number += 1
            branches[r].flux += value
        else:
            root = _merge(branches, nodes, root, r)
        joined += 1
    if root < 0:
        root = np.int64(new)
        branch = branches[new]
        branch.parent, branch.number, branch.flux = new, 1, value
        branch.node, branch.whole = -1, True
        _open(branch, nodes, q, foot_above, least, enough)
    place[p] = -1 - root
    return root, joined


@compiled()
def _close(branch, nodes, node, q, cores, depth, found):
    """Make a branch a node at level `q`; its sons become sources if two or more count. Return how many."""
    branch.step = -1 - q
    branch.node = node
    nodes[node].core, nodes[node].key, nodes[node].up = -1, 0, -1
    meeting = branch.heavy > 1
    son = branch.head
    while son >= 0:
        nodes[son].up = node
        nodes[node].key = max(nodes[node].key, nodes[son].key)
        if nodes[son].core == -2:
            nodes[son].core = -1
            if meeting:
                cores[found], depth[found] = son, q
                found += 1
        son = nodes[son].next
    branch.whole = branch.spotless and not meeting
    return found


@compiled()
def _before(nodes, cores, depth, i, j):
    """Test whether SExtractor lists core `i` before `j`: higher meeting points first, then as scanned."""
    if depth[i] != depth[j]:
        return depth[i] > depth[j]
    a, b = cores[i], cores[j]
    from_a, from_b = a, b
    while a != b:  # climb to where they meet; the branches are told apart just above
        if a < b:
            from_a, a = a, nodes[a].up
        else:
            from_b, b = b, nodes[b].up
    return nodes[from_a].key < nodes[from_b].key


@compiled()
def _sort_cores(nodes, cores, depth, found):
    """Sort the cores by insertion: they come nearly in order."""
    for i in range(1, found):
        core, deep = cores[i], depth[i]
        j = i
        while j > 0:
            cores[j], depth[j] = core, deep
            if not _before(nodes, cores, depth, j, j - 1):
                break
            cores[j], depth[j] = cores[j - 1], depth[j - 1]
            j -= 1
        cores[j], depth[j] = core, deep


@compiled()
def find_cores(
    pixel, level, peak, place, first, last, stride, feet, least, enough, peaks, work, cores, depth
):
    """Find the branches of a group that become sources.

    The tree grows from the highest level down; every branch that gains pixels at
    a level becomes a node, whose sons are the branches of the level above.

    Parameters
    ----------
    pixel, level, peak, place
        As for `deblend.deblend`. While the tree grows, `place` holds -1 less the
        branch for its pixels; the pixels' numbers are restored in the end.
    first, last : int
        The group's pixels are pixel[first:last].
    stride : int
        Columns of the bordered image.
    feet : float32 array
        Levels [ADU].
    least : int
        Least number of pixels of a branch.
    enough : float
        Flux above its foot from which a branch counts [ADU].
    peaks : int
        Number of local maxima, as `peak` marks them.
    work : tuple of arrays
        Work space: at least as many `BRANCH` and `NODE` records, int32, int16 and
        int32 numbers as the group has pixels, and an int64 number per level.
    cores, depth : int32 arrays
        Node of each core, and level at which it meets others.

    Returns
    -------
    int
        Number of cores. ``work[4]`` says which core each pixel belongs to (-1: none).
    """
    branches, nodes, order, step, owner, ends = work
    n, steps = last - first, len(feet)
    _sort_by_level(level, first, n, feet, order, step, ends)
    begun = count = found = at = separate = 0
    for q in range(steps - 1, -1, -1):
        foot_above = feet[q + 1] if q + 1 < steps else np.float32(np.inf)
        begin, at = at, ends[q]
        for i in range(begin, at):
            k = order[i]
            p, value = np.int64(pixel[first + k]), level[first + k]
            owner[k], joined = _add_pixel(
                p, value, q, begun, place, stride, foot_above, least, enough, branches, nodes
            )
            begun += 1 if joined == 0 else 0
            separate += 1 - joined
            peaks -= 1 if peak[first + k] else 0
        for i in range(begin, at):
            k = order[i]
            r = _find(branches, np.int64(owner[k]))
            if branches[r].step != -1 - q:
                found = _close(branches[r], nodes, count, q, cores, depth, found)
                count += 1
            node = branches[r].node
            owner[k] = node
            nodes[node].key = max(nodes[node].key, pixel[first + k])
        if peaks == 0 and separate == 1:
            break  # what is left can neither begin a branch nor join two
    for k in range(first, last):
        place[pixel[k]] = k
    if found == 0:
        return 0
    _sort_cores(nodes, cores, depth, found)
    for i in range(found):
        nodes[cores[i]].core = i
    for node in range(count - 2, -1, -1):
        if nodes[node].core < 0:
            nodes[node].core = nodes[nodes[node].up].core
    for i in range(n):
        k = order[i]
        owner[k] = nodes[owner[k]].core if i < at else -1
    return found
