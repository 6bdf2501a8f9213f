"""The tree of a group's isophotes, and the branches of it that become sources.

Bertin & Arnouts (1996), section 4.2: a group is cut at levels spaced
exponentially between the threshold and its peak; a branch counts if its flux
above its own foot is more than a fraction of the group's flux; wherever two or
more branches that count meet, each becomes a source.
"""

from __future__ import annotations

import math

import numpy as np

from visql_lib.sources.compiled import compiled

# Neighbours: below, above, left, right, then the corners; and which of the first four touch each corner
_STEP_X = (0, 0, -1, 1, -1, 1, -1, 1)
_STEP_Y = (-1, 1, 0, 0, -1, -1, 1, 1)
_ASIDE = (0, 0, 0, 0, 1 + 4, 1 + 8, 2 + 4, 2 + 8)
# A branch under construction, kept at the pixel that is its root
BRANCH = np.dtype(
    [
        ("parent", np.int32),  # another pixel of the branch, the root's own number; -1: not yet in the tree
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
# What is known of a pixel of the group
PIXEL = np.dtype([("order", np.int32), ("level", np.int16), ("peak", np.bool_), ("owner", np.int32)])


@compiled()
def count_peaks(pixel, level, place, first, last, stride, pixels):
    """Mark the local maxima of a group in the `PIXEL` records and return their number.

    Of equal neighbours the first in the order of rows may be one, so that no
    maximum is missed; some that are marked may be none.
    """
    peaks = 0
    for k in range(first, last):
        w = level[k]
        p = np.int64(pixel[k])
        peak = (
            w >= level[place[p + 1]]
            and w > level[place[p - 1]]
            and w >= level[place[p + stride]]
            and w > level[place[p - stride]]
            and w >= level[place[p + stride + 1]]
            and w > level[place[p - stride - 1]]
            and w >= level[place[p + stride - 1]]
            and w > level[place[p - stride + 1]]
        )
        pixels[k - first].peak = peak
        peaks += 1 if peak else 0
    return peaks


@compiled()
def _find(branches, i):
    """Return the root of a pixel's branch."""
    while branches[i].parent != i:
        branches[i].parent = branches[branches[i].parent].parent
        i = branches[i].parent
    return i


@compiled()
def _sort_by_level(level, first, n, feet, pixels):
    """Order the pixels from the highest level to the lowest."""
    steps = len(feet)
    inverse = (steps - 1) / max(math.log(feet[steps - 1] / feet[0]), 1e-9)
    counts = np.zeros(steps + 1, np.int64)
    for k in range(n):
        w = level[first + k]
        q = min(max(int(math.log(w / feet[0]) * inverse), 0), steps - 1)
        while q > 0 and not w > feet[q]:
            q -= 1
        while q + 1 < steps and w > feet[q + 1]:
            q += 1
        pixels[k].level = q
        counts[q] += 1
    at = 0
    for q in range(steps - 1, -1, -1):
        number = counts[q]
        counts[q] = at
        at += number
    for k in range(n):
        q = pixels[k].level
        pixels[counts[q]].order = k
        counts[q] += 1


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
def _add_pixel(k, q, first, value, p, place, stride, foot_above, least, enough, branches, nodes):
    """Add pixel `k` of the group, at place `p`, to the tree at level `q`; return the branches it joins."""
    new = branches[k]
    new.parent, new.number, new.flux = k, 1, value
    new.node, new.whole = -1, True
    _open(new, nodes, q, foot_above, least, enough)
    root = np.int64(k)
    joined = met = 0
    for i in range(8):  # the four sides, then the corners
        if met & _ASIDE[i]:
            continue  # this corner, if it is in the tree, is in it with the side
        other = np.int64(place[p + _STEP_X[i] + _STEP_Y[i] * stride] - first)
        if other < 0 or branches[other].parent < 0:
            continue
        met |= 1 << i
        r = _find(branches, other)
        if r == root:
            continue
        if branches[r].step != q:
            _open(branches[r], nodes, q, foot_above, least, enough)
        root = _merge(branches, nodes, root, r)
        joined += 1
    return joined


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
    """Whether SExtractor lists core `i` before `j`: higher meeting points first, then as scanned."""
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
def find_cores(pixel, level, place, first, last, stride, feet, least, enough, peaks, work, cores, depth):
    """Find the branches of a group that become sources.

    The tree grows from the highest level down; every branch that gains pixels at
    a level becomes a node, whose sons are the branches of the level above.

    Parameters
    ----------
    pixel, level, place
        As for `deblend.deblend`.
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
        Number of local maxima, marked by `count_peaks`.
    work : tuple of records
        Work space: at least as many of `BRANCH`, `NODE` and `PIXEL` as the group has pixels.
    cores, depth : int32 arrays
        Node of each core, and level at which it meets others.

    Returns
    -------
    int
        Number of cores. ``owner`` of the `PIXEL` records says which core a pixel belongs to (-1: none).
    """
    branches, nodes, pixels = work
    n, steps = last - first, len(feet)
    _sort_by_level(level, first, n, feet, pixels)
    for k in range(n):
        branches[k].parent = -1
    count = found = at = separate = 0
    for q in range(steps - 1, -1, -1):
        foot_above = feet[q + 1] if q + 1 < steps else np.float32(np.inf)
        begin = at
        while at < n and pixels[pixels[at].order].level == q:
            k = pixels[at].order
            p = np.int64(pixel[first + k])
            value = level[first + k]
            separate += 1 - _add_pixel(
                k, q, first, value, p, place, stride, foot_above, least, enough, branches, nodes
            )
            peaks -= 1 if pixels[k].peak else 0
            at += 1
        for i in range(begin, at):
            k = pixels[i].order
            r = _find(branches, np.int64(k))
            if branches[r].step != -1 - q:
                found = _close(branches[r], nodes, count, q, cores, depth, found)
                count += 1
            node = branches[r].node
            pixels[k].owner = node
            nodes[node].key = max(nodes[node].key, pixel[first + k])
        if peaks == 0 and separate == 1:
            break  # what is left can neither begin a branch nor join two
    if found == 0:
        return 0
    _sort_cores(nodes, cores, depth, found)
    for i in range(found):
        nodes[cores[i]].core = i
    for node in range(count - 2, -1, -1):
        if nodes[node].core < 0:
            nodes[node].core = nodes[nodes[node].up].core
    for i in range(n):
        k = pixels[i].order
        pixels[k].owner = nodes[pixels[k].owner].core if i < at else -1
    return found
