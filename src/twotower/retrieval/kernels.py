"""The compiled loops of retrieval: dot products of users with items, and the best k of them.

A score is the sum of its products in the order of the columns, one fused multiply-add after the other,
whoever is asked beside it. No library's matrix product promises that: theirs sum in an order that depends on
the shape. Here two loops keep it. For many users a tile of items is turned on its side, and one instruction
adds a product to the sums of several items (`_score_panel`); for one or two users that is not worth the
turning, and several sums run beside each other (`_score_rows`), unless turned tiles were kept. Both give the
same bits.

For many users the items come in an order in which most need not be scored (`Reach`): by falling distance
from their mean. With ``c`` for it, ``u . i = u . c + u . (i - c) <= u . c + |u| |i - c|``, so a user is done
when that bound, which falls from tile to tile, lies below the best k so far.

A score and its item travel as one whole number, larger for a higher score and, of equal scores, for the lower
item. So ties cost nothing, and the best k are the k largest numbers.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TILE = 64
"""Items scored at a time: at a dim of 64 they fill half of a first-level cache."""
BLOCK = 128
"""Users that share a tile once it is turned."""
_FEW = 2  # up to here a tile is not turned: turning costs as much as scoring it for about five users
_COLUMNS = 8  # of a tile that are added in one pass over the sums
_SUM = {
    "contract"
}  # a product and its sum are one rounding; no other liberty: the order stays, NaN stays NaN
_HUGE, _TINY = 1e30, 1e-37  # float32 is exact to its last place between them, with room to spare
_MIDDLE = np.uint32(0x80000000)
_ROWS = np.uint64(0xFFFFFFFF)


@njit(cache=True, nogil=True, fastmath=_SUM)
def top_of_block(  # type: ignore[no-untyped-def]
    users, items, rows, panels, reach, indptr, barred_item, first, last, found, scores
):
    """Fill ``first:last`` of ``found`` and ``scores``, (n_users, k), with the best of the candidates.

    ``rows`` (n,) are the candidates, in any order; None is every item. ``panels`` are the tiles of every item
    from `turned_tiles`, or none. ``reach`` is the bound of a `Reach`, or `NO_REACH`.
    ``barred_item[indptr[u]:indptr[u + 1]]`` are barred to user ``u``.
    """
    n_items, width = items.shape
    n = n_items if rows is None else rows.shape[0]
    k = min(found.shape[1], n)
    if k == 0:
        return
    count = last - first
    kept = rows is None and panels.shape[0] > 0
    turned = kept or count > _FEW
    barred = _barred_bits(indptr, barred_item, first, last, n_items)
    keys = np.empty((count, min(2 * k, n) + TILE), dtype=np.uint64)
    size = np.zeros(count, dtype=np.int64)
    bar = np.zeros(count, dtype=np.uint64)  # the k-th best key when it was last looked up; 0 before
    asking = np.arange(count)  # users that are not done
    bound = _bounds(users[first:last], reach)
    tile_rows = np.empty(TILE, dtype=np.int64)
    tile = np.empty(TILE, dtype=np.float32)
    padded = _padded(width)
    panel = np.zeros((padded if turned else 0, TILE), dtype=np.float32)
    wide = np.zeros((count if turned else 0, padded), dtype=np.float32)
    if turned:
        wide[:, :width] = users[first:last]

    for start in range(0, n, TILE):
        filled = min(TILE, n - start)
        asking = _not_done(asking, bar, bound, reach[0], start)
        if asking.size == 0:
            break
        _place(rows, start, n, tile_rows)
        if kept:
            panel = panels[start // TILE]
        elif turned:
            _turn(items, tile_rows, panel)
        for u in asking:
            if turned:
                _score_panel(wide[u], panel, tile)
            else:
                _score_rows(users[first + u], items, tile_rows, tile)
            tile[filled:] = np.nan
            size[u] = _add_tile(tile, tile_rows, filled, barred[u], bar[u], keys[u], size[u])
            if size[u] > 2 * k or (size[u] >= k and not bar[u]):
                bar[u], size[u] = _cut(keys[u], size[u], k), k
    for u in range(count):
        if size[u] > k:
            _cut(keys[u], size[u], k)
        _write_best(keys[u], min(size[u], k), found[first + u], scores[first + u])


@njit(cache=True, nogil=True)
def _place(rows, start, n, tile_rows):  # type: ignore[no-untyped-def]
    """Set ``tile_rows`` to the candidates from ``start`` on; past the end the last is scored again."""
    for j in range(TILE):
        at = min(start + j, n - 1)
        tile_rows[j] = at if rows is None else rows[at]


@njit(cache=True, nogil=True)
def _bounds(users, reach):  # type: ignore[no-untyped-def]
    """Return (2, n_users), a and b: no computed score of an item at distance d exceeds ``a + b d``."""
    distances, mean, varies, rounding = reach
    bound = np.full((2, users.shape[0]), np.inf)
    for u in range(users.shape[0] if distances.size else 0):
        level, varying, whole = 0.0, 0.0, 0.0
        for column in range(users.shape[1]):
            x = np.float64(users[u, column])
            level += x * mean[column]
            whole += x * x
            if varies[column]:
                varying += x * x
        most = rounding * np.sqrt(whole)
        if most < _HUGE:  # no score overflows
            bound[0, u], bound[1, u] = level + most + _TINY, np.sqrt(varying)
    return bound


@njit(cache=True, nogil=True)
def _not_done(asking, bar, bound, distances, start):  # type: ignore[no-untyped-def]
    """Return the users whose best k may still change; a bound that is no number lets them go on."""
    if not distances.size:
        return asking
    left = 0
    kept = np.empty_like(asking)
    for u in asking:
        if bar[u] == 0 or not (bound[0, u] + bound[1, u] * distances[start] < _score(bar[u])):
            kept[left] = u
            left += 1
    return kept[:left]


@njit(cache=True, nogil=True)
def turned_tiles(items):  # type: ignore[no-untyped-def]
    """Return tiles of items turned on their sides, (tiles, width or a few more, TILE); the last is padded."""
    n, width = items.shape
    panels = np.zeros(turned_shape(n, width), dtype=np.float32)
    rows = np.empty(TILE, dtype=np.int64)
    for tile in range(panels.shape[0]):
        for j in range(TILE):
            rows[j] = min(tile * TILE + j, n - 1)
        _turn(items, rows, panels[tile])
    return panels


@njit(cache=True, nogil=True)
def turned_shape(n, width):  # type: ignore[no-untyped-def]
    """Return the shape of `turned_tiles` of n items."""
    return (n + TILE - 1) // TILE, _padded(width), TILE


@njit(cache=True, nogil=True)
def _padded(width):  # type: ignore[no-untyped-def]
    return (width + _COLUMNS - 1) // _COLUMNS * _COLUMNS


@njit(cache=True, nogil=True, fastmath=_SUM)
def top_of_rows(  # type: ignore[no-untyped-def]
    users, items, rows, allowed, indptr, barred_item, first, last, found, scores
):
    """Do as `top_of_block` where each user has candidates of their own: the places of ``rows[u]`` not -1.

    ``allowed`` (n_items,) bool says what may be given to anyone; None is everything.
    """
    width = (rows.shape[1] + TILE - 1) // TILE * TILE
    own = np.empty(width, dtype=np.int64)
    score = np.empty(width, dtype=np.float32)
    keys = np.empty(width, dtype=np.uint64)
    barred = np.zeros((items.shape[0] + 63) // 64, dtype=np.uint64)
    for u in range(first, last):
        for p in range(indptr[u], indptr[u + 1]):
            i = barred_item[p]
            barred[i >> 6] |= np.uint64(1) << np.uint64(i & 63)
        n = 0
        for j in range(rows.shape[1]):
            i = rows[u, j]
            if i >= 0 and (allowed is None or allowed[i]) and not _is_barred(barred, i):
                own[n] = i
                n += 1
        for p in range(indptr[u], indptr[u + 1]):
            barred[barred_item[p] >> 6] = np.uint64(0)
        size = 0
        for start in range(0, n, TILE):
            stop = start + TILE
            for j in range(n, stop):
                own[j] = own[n - 1]
            _score_rows(users[u], items, own[start:stop], score[start:stop])
            for j in range(start, min(stop, n)):
                if not np.isnan(score[j]):
                    keys[size] = _key(score[j], own[j])
                    size += 1
        _write_best(keys, size, found[u], scores[u])


@njit(cache=True, nogil=True)
def _write_best(keys, size, found, scores):  # type: ignore[no-untyped-def]
    """Write the best of ``keys[:size]`` in falling order, each item once."""
    ordered = np.sort(keys[:size])
    place = 0
    for n in range(size - 1, -1, -1):
        if place == found.shape[0]:
            break
        if n + 1 < size and ordered[n] == ordered[n + 1]:
            continue
        found[place], scores[place] = _row(ordered[n]), _score(ordered[n])
        place += 1


@njit(cache=True, nogil=True, fastmath=_SUM)
def _score_panel(user, panel, tile):  # type: ignore[no-untyped-def]
    """Set ``tile`` (TILE,) to ``user`` (width,) times ``panel`` (width, TILE); width a multiple of 8."""
    # Unsigned places: indexing need not look at negative values, and eight columns at once: the sums are
    # read and written once for the eight.
    for j in range(TILE):
        tile[j] = np.float32(0)
    for column in range(0, panel.shape[0], _COLUMNS):
        w0 = np.uint64(column)
        w1, w2, w3 = w0 + np.uint64(1), w0 + np.uint64(2), w0 + np.uint64(3)
        w4, w5, w6, w7 = w0 + np.uint64(4), w0 + np.uint64(5), w0 + np.uint64(6), w0 + np.uint64(7)
        a, b, c, d = user[w0], user[w1], user[w2], user[w3]
        e, f, g, h = user[w4], user[w5], user[w6], user[w7]
        for j in range(TILE):
            s = tile[j]
            s += a * panel[w0, j]
            s += b * panel[w1, j]
            s += c * panel[w2, j]
            s += d * panel[w3, j]
            s += e * panel[w4, j]
            s += f * panel[w5, j]
            s += g * panel[w6, j]
            s += h * panel[w7, j]
            tile[j] = s


@njit(cache=True, nogil=True, fastmath=_SUM)
def _score_rows(user, items, rows, tile):  # type: ignore[no-untyped-def]
    """Set ``tile`` to the scores of ``rows``, (TILE,) both: eight items at a time, their sums in flight."""
    for place in range(0, TILE, 8):
        a, b, c, d = _four(rows, place)
        e, f, g, h = _four(rows, place + 4)
        s_a, s_b, s_c, s_d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        s_e, s_f, s_g, s_h = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for column in range(items.shape[1]):
            w = np.uint64(column)
            x = user[w]
            s_a += x * items[a, w]
            s_b += x * items[b, w]
            s_c += x * items[c, w]
            s_d += x * items[d, w]
            s_e += x * items[e, w]
            s_f += x * items[f, w]
            s_g += x * items[g, w]
            s_h += x * items[h, w]
        tile[place], tile[place + 1], tile[place + 2], tile[place + 3] = s_a, s_b, s_c, s_d
        tile[place + 4], tile[place + 5], tile[place + 6], tile[place + 7] = s_e, s_f, s_g, s_h


@njit(cache=True, nogil=True)
def _turn(items, rows, panel):  # type: ignore[no-untyped-def]
    """Set ``panel`` (width, TILE) to the vectors of ``rows``, a column an item; padding rows stay 0."""
    for place in range(0, TILE, 4):
        a, b, c, d = _four(rows, place)
        j0 = np.uint64(place)
        j1, j2, j3 = j0 + np.uint64(1), j0 + np.uint64(2), j0 + np.uint64(3)
        for column in range(items.shape[1]):
            w = np.uint64(column)
            panel[w, j0] = items[a, w]
            panel[w, j1] = items[b, w]
            panel[w, j2] = items[c, w]
            panel[w, j3] = items[d, w]


@njit(cache=True, nogil=True)
def _four(rows, place):  # type: ignore[no-untyped-def]
    return (
        np.uint64(rows[place]),
        np.uint64(rows[place + 1]),
        np.uint64(rows[place + 2]),
        np.uint64(rows[place + 3]),
    )


@njit(cache=True, nogil=True)
def _add_tile(tile, rows, filled, barred, bar, keys, size):  # type: ignore[no-untyped-def]
    """Add what may be among the best k to ``keys`` and return how many there are now."""
    if bar == 0:
        for j in range(filled):
            if not np.isnan(tile[j]) and not _is_barred(barred, rows[j]):
                keys[size] = _key(tile[j], rows[j])
                size += 1
        return size
    # After the first few hundred candidates hardly any passes, and sixteen are dismissed in a few
    # instructions. Of equal scores the lower item stays, so keys are compared and not scores alone.
    least = _score(bar)
    for start in range(0, TILE, 16):
        passing = np.int32(0)
        for j in range(start, start + 16):
            passing += np.int32(tile[j] >= least)
        if passing:
            for j in range(start, start + 16):
                if tile[j] >= least and not _is_barred(barred, rows[j]):
                    key = _key(tile[j], rows[j])
                    if key > bar:
                        keys[size] = key
                        size += 1
    return size


@njit(cache=True, nogil=True)
def _cut(keys, size, k):  # type: ignore[no-untyped-def]
    """Bring the k largest of ``keys[:size]`` to the front and return the least of them."""
    low, high = 0, size - 1
    while low < high:  # Hoare's selection, around the middle of three
        x, y, z = keys[low], keys[(low + high) // 2], keys[high]
        pivot = max(min(x, y), min(max(x, y), z))
        i, j = low, high
        while i <= j:
            while keys[i] > pivot:
                i += 1
            while keys[j] < pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            break
    return keys[k - 1]


@njit(cache=True, nogil=True)
def _key(score, row):  # type: ignore[no-untyped-def]
    """Return score and row as one number, which orders as they do: higher score first, then lower row."""
    bits = np.float32(score).view(np.uint32) if score != 0 else np.uint32(0)  # -0.0 ties with 0.0
    # As whole numbers positive floats keep their order and negative ones turn it round.
    ordered = np.uint32(~bits) if bits & _MIDDLE else np.uint32(bits | _MIDDLE)
    return (np.uint64(ordered) << np.uint64(32)) | (_ROWS - np.uint64(row))


@njit(cache=True, nogil=True)
def _score(key):  # type: ignore[no-untyped-def]
    ordered = np.uint32(key >> np.uint64(32))
    bits = ordered ^ _MIDDLE if ordered & _MIDDLE else ~ordered
    return np.uint32(bits).view(np.float32)


@njit(cache=True, nogil=True)
def _row(key):  # type: ignore[no-untyped-def]
    return np.int32(_ROWS - (key & _ROWS))


@njit(cache=True, nogil=True)
def _barred_bits(indptr, barred_item, first, last, n_items):  # type: ignore[no-untyped-def]
    """Return a bit an item for each user ``first:last``; no columns where nothing is barred to any."""
    words = (n_items + 63) // 64 if indptr[first] < indptr[last] else 0
    barred = np.zeros((last - first, words), dtype=np.uint64)
    for u in range(first, last):
        for p in range(indptr[u], indptr[u + 1]):
            i = barred_item[p]
            barred[u - first, i >> 6] |= np.uint64(1) << np.uint64(i & 63)
    return barred


@njit(cache=True, nogil=True)
def _is_barred(barred, i):  # type: ignore[no-untyped-def]
    if barred.shape[0] == 0:
        return False
    return (barred[i >> 6] >> np.uint64(i & 63)) & np.uint64(1) != 0
