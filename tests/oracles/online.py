"""What an online store answers at a time T from an exported version (architecture, law 8; semantics, section 6).

An answer is (features, status). Where the text leaves a choice, these hold:
- `beyond`: a state view asked so long after its watermark that the exported value reaches no further; nulls;
- `missing`: no usable row (unknown key, before the first row, past TTL or validity); nulls, however old the export is;
- `stale`: there is a value, and more than the SLA has passed at T since the watermark (a state view) or since the
  export (any other); the value is given;
- `present`: all else.
- A view without state rows is answered, for T from the export on, as the join on the exported version at T, also from
  rows that were known beforehand and become usable later; for earlier T only from the row that was newest at
  export (under `nulls: skip` also from the newest with a value, per column).
"""

from .joins import features_at, usable_row, visible_rows
from .state_views import state_rows


def state_answer(asked, time, delivered, view, join, *, watermark, reach=None, sla=None):
    """Of a state view: up to the watermark its rows; beyond it what the same source rows give with it at T.

    `reach`: how far beyond the watermark the exported value can be computed on; None is without end.
    """
    last = None if watermark is None else max(watermark, time - join.offset)
    rows = state_rows(delivered, view, last)
    if watermark is not None and reach is not None and time - join.offset > watermark + reach:
        return nothing(join), "beyond"
    return answered(asked, time, rows, join, fresh_at=watermark, sla=sla)


def event_answer(asked, time, view_rows, join, *, exported_at, sla=None):
    """Of any other view, from its rows in the exported version."""
    held = list(view_rows)
    if time is not None and time < exported_at:
        visible = visible_rows(asked, exported_at, view_rows, join)
        held = visible[-1:] + [row for row in view_rows if row["event_timestamp"] is None]
        if join.skip_nulls:
            for feature in join.features:
                held += [row for row in visible if row[feature] is not None][-1:]
    return answered(asked, time, held, join, fresh_at=exported_at, sla=sla)


def answered(asked, time, rows, join, *, fresh_at, sla):
    features = features_at(asked, time, rows, join)
    if usable_row(asked, time, rows, join) is None:
        return features, "stale" if visible_rows(asked, time, rows, join) else "missing"  # too old, or ended
    if sla is not None and (fresh_at is None or time - fresh_at > sla):
        return features, "stale"
    return features, "present"


def nothing(join):
    before = "" if join.role is None else f"{join.role}__"
    names = [*join.features, *([] if join.since_last is None else [join.since_last])]
    return dict.fromkeys((before + name for name in names), None)
