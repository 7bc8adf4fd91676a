"""Window queries of all kinds drawn by chance, with the shape that `reference` knows them by."""

import polars as pl
import reference
from hypothesis import strategies as st

import lepton_nb as lnb

SCHEMA = {"key": pl.String, "ts": pl.Int64, "v": pl.Float64}


@st.composite
def shapes(draw):
    kind = draw(st.sampled_from(sorted(reference.KINDS)))
    size, every = draw(st.integers(1, 30)), draw(st.integers(1, 12))
    base = lnb.windows(time="ts", key="key")
    match kind:
        case "tumbling":
            offset = draw(st.integers(1 - size, size - 1))
            return kind, {"size": size, "offset": offset}, base.tumbling(f"{size}ms", f"{offset}ms")
        case "sliding":
            offset = draw(st.integers(1 - every, every - 1))
            shape = {"size": size, "every": every, "offset": offset}
            return kind, shape, base.sliding(f"{size}ms", f"{every}ms", f"{offset}ms")
        case "cumulating":
            shape = {"size": every * draw(st.integers(1, 4)), "every": every}
            shape["offset"] = draw(st.integers(1 - shape["size"], shape["size"] - 1))
            return kind, shape, base.cumulating(*(f"{shape[name]}ms" for name in ("size", "every", "offset")))
        case "session":
            return kind, {"gap": every}, base.session(f"{every}ms")
        case "rolling":
            return kind, {"size": size}, base.rolling(f"{size}ms")
        case "last_rows":
            return kind, {"count": size}, base.rolling(rows=size)
    return kind, {"count": size % 5 + 1, "every": every}, base.counting(size % 5 + 1, every)


def frame_of(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").with_columns(pl.col("ts").cast(pl.Datetime("ms")))


def expected(rows, kind, shape):
    in_order = kind in ("last_rows", "counting")
    return [
        (key, start, end, *map(reference.plain, reference.aggregates(mine, in_order).values()))
        for key, start, end, mine in reference.windows(rows, kind, **shape)
    ]


def found(table):
    flat = table.with_columns(pl.col("window_start", "window_end").dt.epoch("ms"))
    return [tuple(map(reference.plain, row)) for row in flat.rows()]
