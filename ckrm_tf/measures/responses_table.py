"""Weights and responses side by side: one row for every convolution and every other width."""

from __future__ import annotations

import pandas as pd

from ckrm_tf.measures.responses import RESPONSE_COLUMNS, ResponseMeasure


def with_responses(table: pd.DataFrame, made: ResponseMeasure, rows: pd.DataFrame) -> pd.DataFrame:
    """The table of a model's kernels with what the responses say.

    Args:
        table: a row for every convolution, as `measure` makes it; `name` is the key.
        made: the measure on responses of the same model.
        rows: its table.

    Returns:
        The rows of the table with the columns of the responses: a convolution has those of the
        width that it makes, and is not skipped where it has. Widths that no convolution is named
        after, as sums and dense layers, follow as rows without the columns of weights.
    """
    by_name = rows.set_index("name")
    shows = [_site_of(name, made) for name in table["name"]]
    numbers = by_name[list(RESPONSE_COLUMNS)].reindex(shows)
    numbers.index = table.index
    joined = pd.concat([table, numbers], axis=1)
    seen = numbers["lambda_response"].notna()
    joined.loc[seen, "skipped"] = ""
    known = set(table["name"])
    more = [
        {column: False for column in ("told", "folded") if column in table}
        | {"name": site.name, "shape": site.shape, "skipped": ""}
        | {column: by_name.at[site.name, column] for column in RESPONSE_COLUMNS}
        for site in made.sites
        if site.name not in known
    ]
    if not more:
        return joined
    if joined.empty:
        return pd.DataFrame(more, columns=list(joined.columns))
    # Row by row, because joining columns that are empty in one part changes their types.
    records = joined.to_dict("records") + more
    return pd.DataFrame(records, columns=list(joined.columns))


def _site_of(name: str, made: ResponseMeasure) -> str | None:
    """The site that shows the width of a kernel; a separable layer's is that of its last kernel."""
    site = made.of_layer.get(name.removesuffix("/pointwise"))
    return None if site is None else site.name
