"""Window queries by their definition: plain Python, every row into every window that holds it. Times are integers."""

import math
from collections import Counter, defaultdict


def windows(rows, kind, **shape):
    """[(key, start, end, rows)] sorted by key, start, end; rows: (key, time, value), null keys and times left out."""
    by_key = defaultdict(list)
    for row in rows:
        if row[0] is not None and row[1] is not None:
            by_key[row[0]].append(row)
    found = []
    for key, mine in sorted(by_key.items()):
        ordered = sorted(mine, key=lambda row: (row[1], order(row[2])))
        found += [(key, *window) for window in KINDS[kind](ordered, **shape)]
    return found


def order(value):
    """Nulls first, NaN last, as Polars sorts."""
    return (value is not None, isinstance(value, float) and math.isnan(value), value if value is not None else 0)


def sliding(rows, size, every, offset=0):
    starts = set()
    for _, time, _ in rows:
        last = time - (time - offset) % every
        starts.update(s for s in range(last, last - size - every, -every) if s <= time < s + size)
    return [(s, s + size, [r for r in rows if s <= r[1] < s + size]) for s in sorted(starts)]


def tumbling(rows, size, offset=0):
    return sliding(rows, size, size, offset)


def cumulating(rows, size, every, offset=0):
    found = []
    for start in sorted({time - (time - offset) % size for _, time, _ in rows}):
        for end in range(start + every, start + size + 1, every):
            inside = [r for r in rows if start <= r[1] < end]
            if inside:
                found.append((start, end, inside))
    return found


def session(rows, gap):
    found = []
    for row in rows:
        if found and row[1] - found[-1][-1][1] <= gap:
            found[-1].append(row)
        else:
            found.append([row])
    return [(rows[0][1], rows[-1][1] + gap, rows) for rows in found]


def rolling(rows, size):
    return [(t - size + 1, t + 1, [r for r in rows if t - size < r[1] <= t]) for _, t, _ in rows]


def last_rows(rows, count):
    found = []
    for at in range(len(rows)):
        mine = rows[max(0, at - count + 1) : at + 1]
        found.append((mine[0][1], mine[-1][1] + 1, mine))
    return found


def counting(rows, count, every):
    full = [rows[at : at + count] for at in range(0, len(rows), every)]
    return [(mine[0][1], mine[-1][1] + 1, mine) for mine in full if len(mine) == count]


KINDS = {
    "sliding": sliding,
    "tumbling": tumbling,
    "cumulating": cumulating,
    "session": session,
    "rolling": rolling,
    "last_rows": last_rows,
    "counting": counting,
}


def aggregates(rows, in_order=False):
    """What `ALL` of the tests computes, by name. `in_order`: first and last go by the order of rows, not of times."""
    values = [value for _, _, value in rows]
    known = sorted((v for v in values if v is not None), key=order)
    numbers = [v for v in known if not math.isnan(v)] or known
    timed = [(time, value) for _, time, value in rows if value is not None]
    n = len(known)
    mean = sum(known) / n if n else None
    m2 = sum((v - mean) ** 2 for v in known) if n else 0.0
    counted = Counter(plain(v) for v in known)
    best = sorted(counted.items(), key=lambda item: (-item[1], item[0] == "NaN", item[0] if item[0] != "NaN" else 0))
    if in_order:
        first, last = (timed[0][1], timed[-1][1]) if timed else (None, None)
    else:
        first = smallest([v for t, v in timed if t == min(t for t, _ in timed)])
        last = largest([v for t, v in timed if t == max(t for t, _ in timed)])
    return {
        "rows": len(values),
        "values": n,
        "sum": float(sum(known)),
        "mean": mean,
        "min": numbers[0] if n else None,
        "max": numbers[-1] if n else None,
        "var": m2 / (n - 1) if n > 1 else None,
        "std": math.sqrt(m2 / n) if n > 0 else None,
        "first": first,
        "last": last,
        "half": quantile(known, 0.5),
        "most": quantile(known, 0.9),
        "distinct": len(counted),
        "frequent": [{"value": v, "count": c} for v, c in best[:2]],
        "largest": known[::-1][:2],
        "kept": [{"v": v} for _, v in sorted(((t, v) for _, t, v in rows), key=lambda r: (r[0], order(r[1])))],
        "own": sum(1 for v in known if v > 0),
    }


def smallest(values):
    return min([v for v in values if not math.isnan(v)] or values, default=None)


def largest(values):
    return max([v for v in values if not math.isnan(v)] or values, default=None)


def quantile(ordered, q):
    if not ordered:
        return None
    rank = q * (len(ordered) - 1)
    low, high = ordered[math.floor(rank)], ordered[min(math.floor(rank) + 1, len(ordered) - 1)]
    return low if rank == math.floor(rank) or low == high else low + (high - low) * (rank - math.floor(rank))


def plain(value):
    """NaN as text and floats rounded a little, so that results compare; in lists and dicts too."""
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else round(value, 9) + 0.0
    return value
